"""What of a study goes beside a paper: figures, numbers, design and report, without the logs."""

import shutil
from pathlib import Path

from tacit.errors import RunDirError

WHOLE = ("report.html", "study.json", "run.json")  # run.json: the resolved design, and versions
PER_ADAPTER = ("belief.jsonl", "hygiene.json")


def publish(study: Path, target: Path) -> list[Path]:
    """Copy what a reader needs into a folder, and leave what else is there alone; returns files.

    Figures are taken as SVG and CSV. Each adapter's belief curve and hygiene get its name.

    Raises:
        RunDirError: the study has no report yet.
    """
    missing = [name for name in WHOLE if not (study / name).is_file()]
    if missing:
        raise RunDirError(f"{study} has no {', '.join(missing)}: `python -m study.run` makes them")
    sources = {name: study / name for name in WHOLE}
    for figure in sorted((study / "figures").iterdir()):
        if figure.suffix in (".svg", ".csv"):
            sources[f"figures/{figure.name}"] = figure
    for adapter in sorted((study / "adapters").glob("*")):
        for name in PER_ADAPTER:
            if (adapter / name).is_file():
                sources[f"adapters/{adapter.name}.{name}"] = adapter / name
    for name, source in sources.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / name)
    return [target / name for name in sources]
