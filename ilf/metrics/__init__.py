"""Text measures as ``evaluate.Metric`` modules that ship with ilf: nothing is downloaded.

The graders of the same names use the same formulas, without importing evaluate.
"""
