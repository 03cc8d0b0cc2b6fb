"""Draw the pictures of ``docs/data.md`` into ``docs/data/``: phantoms of every data set, their labels outlined."""

import tempfile
from pathlib import Path

from rareseg import datasets
from rareseg.experiments import contact_sheet

PICTURES = Path(__file__).parents[1] / "docs" / "data"
SIZE = {
    "isic2018": 160,
    "dsb2018": 96,
    "drive": 256,
    "cvc_clinicdb": 160,
    "bus2017": 160,
    "brats2020": 96,
    "kits19": 96,
}
CASES, SHOWN, TILE, COLOURS = 14, 4, 170, 200


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    for key in datasets.names():
        with tempfile.TemporaryDirectory() as scratch:
            dataset = datasets.open(key, datasets.make_phantoms(key, f"{scratch}/{key}", cases=CASES, size=SIZE[key]))
            title = f"{key}: phantoms, drawn by a program; outlined: {', '.join(dataset.classes[1:])}"
            sheet = contact_sheet.draw(title, contact_sheet.chosen(dataset.cases, SHOWN), SHOWN, TILE, COLOURS)
        path = PICTURES / f"{key}.png"
        path.write_bytes(sheet)
        print(f"{path}: {len(sheet) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
