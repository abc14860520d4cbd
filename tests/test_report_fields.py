"""The accuracy with some of the fields, as a command prints it."""

from mosaic_fl.report.fields import subset_lines


def test_each_subset_has_a_line() -> None:
    rows = [
        {"fields": ["left"], "samples": 9, "accuracy": 0.921},
        {"fields": ["left", "right"], "samples": 9, "accuracy": 0.96},
        {"fields": ["left", "right", "table"], "samples": 9, "accuracy": 1.0},
    ]
    assert subset_lines({"by_fields": rows}) == [
        "With left alone: 92.1 %",
        "With left and right: 96.0 %",
        "With left, right and table: 100.0 %",
    ]
    assert subset_lines({"accuracy": 0.5}) == []
