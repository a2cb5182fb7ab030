'use strict';
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const number = new Intl.NumberFormat('en');
  all('.tools').forEach(tool => { tool.hidden = false; });

  // --- light and dark: as the system, or as chosen; a page opened from disk may not remember it
  const themes = ['', 'light', 'dark'], themeButton = document.getElementById('theme');
  const remembered = value => {
    try { return value === undefined ? localStorage.getItem('ilf-theme') : localStorage.setItem('ilf-theme', value); }
    catch { return null; }
  };
  const paint = theme => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    if (themeButton) themeButton.textContent = 'Theme: ' + (theme || 'auto');
  };
  paint(themes.includes(remembered()) ? remembered() : '');
  themeButton?.addEventListener('click', () => {
    const next = themes[(themes.indexOf(root.dataset.theme || '') + 1) % themes.length];
    remembered(next);
    paint(next);
  });

  // --- charts: what is pointed at, or reached by the arrow keys, says its numbers
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  tip.setAttribute('aria-hidden', 'true');
  document.body.append(tip);
  const POINT = '.pt, .spot, .touch';
  const told = point => {
    const title = point.querySelector(':scope > title');
    if (title) {
      point.setAttribute('aria-label', title.textContent);
      title.remove();
    }
    return point.getAttribute('aria-label') || '';
  };
  const show = (point, x, y) => {
    tip.textContent = told(point);
    tip.hidden = !tip.textContent;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 4)) + 'px';
    tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18) + 'px';
  };
  const find = event => event.target instanceof Element ? event.target.closest(POINT) : null;
  document.addEventListener('pointermove', event => {
    const point = find(event);
    if (point) show(point, event.clientX, event.clientY); else tip.hidden = true;
  });
  const showFocused = () => {
    const point = document.activeElement?.closest(POINT);
    if (!point) { tip.hidden = true; return; }
    const box = (point.querySelector('circle:last-of-type') || point).getBoundingClientRect();
    show(point, (box.left + box.right) / 2, (box.top + box.bottom) / 2);
  };
  document.addEventListener('focusin', showFocused);
  document.addEventListener('focusout', () => { tip.hidden = true; });
  document.addEventListener('scroll', showFocused, { passive: true, capture: true });

  // One stop of the tab key per chart, the arrow keys go on within it.
  all('svg.lines[role=img]').forEach(chart => {
    if (!chart.querySelector(POINT)) return;
    chart.setAttribute('role', 'group');
    chart.removeAttribute('tabindex');
    chart.setAttribute('data-rove', '');
  });
  const charts = all('[data-rove]');
  const pointsOf = chart => all(POINT, chart).filter(point => !point.closest('.off') && !point.parentElement.closest('.pt'));
  charts.forEach(chart => pointsOf(chart).forEach((point, index) => {
    point.setAttribute('role', 'img');
    point.setAttribute('tabindex', index ? '-1' : '0');
    if (point.parentElement.getAttribute('role') === 'img') point.parentElement.removeAttribute('role');
  }));
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape') tip.hidden = true;
    const point = find(event), chart = point?.closest('[data-rove]');
    if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
    const points = pointsOf(chart), here = points.indexOf(point);
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? points.length - 1
      : event.key in STEPS ? here + STEPS[event.key] : -1;
    if (!points[to]) return;
    event.preventDefault();
    point.setAttribute('tabindex', '-1');
    points[to].setAttribute('tabindex', '0');
    points[to].focus();
  });

  // --- tables that sort: unknown numbers stay last
  const key = (row, column) => {
    const cell = row.cells[column], value = cell?.dataset.v;
    if (value === undefined) return cell ? cell.textContent.trim() : '';
    return value === '' ? null : Number(value);
  };
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b
    : String(a).localeCompare(String(b), 'en', { numeric: true });
  const sort = (table, header, column) => {
    const first = table.querySelector('tbody tr:not(.over)')?.cells[column]?.dataset.v !== undefined ? 'descending' : 'ascending';
    const other = { ascending: 'descending', descending: 'ascending' };
    const order = header.hasAttribute('aria-sort') ? other[header.getAttribute('aria-sort')] : first;
    all('thead th', table).forEach(each => each.removeAttribute('aria-sort'));
    header.setAttribute('aria-sort', order);
    all('tbody', table).forEach(body => {
      const rows = all(':scope > tr:not(.over)', body).map(row => ({ row, at: key(row, column) }));
      const known = rows.filter(each => each.at !== null), unknown = rows.filter(each => each.at === null);
      known.sort((a, b) => compare(a.at, b.at) * (order === 'ascending' ? 1 : -1));
      body.append(...[...known, ...unknown].map(each => each.row));
    });
  };
  all('table[data-sort]').forEach(table => all('thead th', table).forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => sort(table, header, column));
  }));

  // --- filters: of arms by their name everywhere, of rows by their text
  const opened = new Set();
  const openFor = (wanted, part) => {
    const holder = part.parentElement.closest('details');
    if (!holder || holder.classList.contains('row')) return;
    if (wanted && !holder.open) { holder.open = true; opened.add(holder); }
  };
  const texts = new WeakMap();
  const textOf = part => {
    if (!texts.has(part)) texts.set(part, part.textContent.toLowerCase());
    return texts.get(part);
  };
  const filters = {
    arms: (input, words) => {
      const within = input.closest('article') || document;
      const parts = all('[data-arm]', within);
      const hit = part => words.every(word => part.dataset.arm.toLowerCase().includes(word));
      parts.forEach(part => part.classList.toggle('off', !hit(part)));
      const section = input.closest('section'), found = all('.forest [data-arm]:not(.off)', section);
      found.forEach(part => openFor(words.length, part));
      return [found.length, all('.forest [data-arm]', section).length, 'arms'];
    },
    rows: (input, words) => {
      const rows = all('details.row', input.closest('section'));
      rows.forEach(row => row.classList.toggle('off', !words.every(word => textOf(row).includes(word))));
      return [rows.filter(row => !row.classList.contains('off')).length, rows.length, 'rows'];
    },
  };
  all('input[data-filter]').forEach(input => input.addEventListener('input', () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [found, whole, what] = filters[input.dataset.filter](input, words);
    if (!words.length) { opened.forEach(holder => { holder.open = false; }); opened.clear(); }
    input.closest('.bar').querySelector('output').textContent =
      words.length ? `${number.format(found)} of ${number.format(whole)} ${what}` : '';
  }));

  // --- on paper everything is unfolded, also where the browser's style sheet cannot do it
  let folded = [];
  addEventListener('beforeprint', () => {
    folded = all('details:not([open])');
    folded.forEach(part => { part.open = true; });
  });
  addEventListener('afterprint', () => { folded.forEach(part => { part.open = false; }); folded = []; });
})();
