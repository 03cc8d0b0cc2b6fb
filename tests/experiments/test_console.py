"""What a person reads while runs go on, without a terminal."""

import io

from rich.console import Console

from rareseg.experiments.console import Progresser


def test_a_note_about_a_run_is_a_line_of_its_own():
    text = io.StringIO()
    with Progresser(Console(file=text, width=120), 2) as progress:
        progress({"kind": "started", "run": "drive-unet-s0"})
        progress({"kind": "note", "run": "drive-unet-s0", "text": "the checkpoint step-000000002 is damaged"})
        progress({"kind": "finished", "run": "drive-unet-s0", "reason": None})
    lines = text.getvalue().splitlines()
    assert lines[0] == "run 1 of 2  drive-unet-s0: the checkpoint step-000000002 is damaged"
    assert lines[1].startswith("run 1 of 2  drive-unet-s0 finished")
