"""Verbs for records of computed materials: bring them in, look them up, search them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import NotInLibrary
from ui.command import DONE, FAILED, PARTLY, Context, Verbs, emit, library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.library import Library
    from ingest.materials import Material
    from ingest.materials.download import Progress
    from ingest.materials.importing import ImportReport

SHOWN_FAILURES = 20


@click.group("materials", cls=Verbs)
def materials() -> None:
    """Keep records of computed materials: the Materials Project, OPTIMADE, your own structures."""


@materials.command(
    "import",
    examples="""matlit materials import mp_summary.jsonl.gz
    matlit materials import structures/ --no-vectors
    matlit materials import tutorial.pkl --allow-pickle""",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--no-vectors", is_flag=True, help="Found by words and facts only; many times faster. Add them later.")
@click.option("--allow-pickle", is_flag=True, help="Also read .pkl files (nothing that they name is run).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option("--workers", type=click.IntRange(0, 256), default=0, help="Processes (default: one per core).")
@click.pass_obj
def import_(context: Context, /, files: tuple[Path, ...], **options: Any) -> int:
    """Bring records into the library: MP and OPTIMADE JSON, JSON Lines, CIF, POSCAR, pymatgen JSON (.gz too)."""
    from ui.engine import run_materials_import

    with MaterialsProgress(quiet=context.quiet or context.json) as progress:
        report = run_materials_import(context.settings(), files, on_progress=progress.imported, **options)
    emit(context, report.to_json(), lambda: show_import_report(report))
    if report.failures:
        return PARTLY if report.read > report.failures else FAILED
    return DONE


@materials.command(
    "download",
    examples="""export MP_API_KEY=…
    matlit materials download mp-149 mp-2534
    matlit materials download --chemsys Li-Fe-P-O
    matlit materials download --elements Li,O --band-gap 1..3 --nsites ..50 --limit 500
    matlit materials download --optimade https://oqmd.org/optimade --formula TiO2""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--elements", default="", metavar="Li,O", help="At least these elements.")
@click.option("--chemsys", default="", metavar="Li-Fe-P-O", help="Exactly these elements.")
@click.option("--formula", default="", metavar="F", help="This formula.")
@click.option("--nsites", metavar="A..B", help="Atoms in the cell: ..20, 2..50")
@click.option("--band-gap", metavar="A..B", help="Band gap in eV: 1..3, 0.5..")
@click.option("--fields", default="", metavar="F,G", help="Only these fields of the summaries (default: all we use).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N records.")
@click.option("--optimade", metavar="URL", help="From this OPTIMADE provider instead of the Materials Project.")
@click.option("--no-vectors", is_flag=True, help="Found by words and facts only; many times faster. Add them later.")
@click.pass_obj
def download(context: Context, /, **options: Any) -> int:
    """Fetch records from the Materials Project ($MP_API_KEY, $MP_API_ENDPOINT) or by OPTIMADE; goes on where it was."""
    from ui.engine import run_materials_download

    with MaterialsProgress(quiet=context.quiet or context.json) as progress:
        report = run_materials_download(context.settings(), progress=progress, **options)
    emit(context, report.to_json(), lambda: show_import_report(report))
    return (PARTLY if report.read > report.failures else FAILED) if report.failures else DONE


@materials.command("show", examples="matlit materials show mp-149")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--structure", is_flag=True, help="With --json: the structure too, in pymatgen's dictionary form.")
@click.pass_obj
def show(context: Context, ids: tuple[str, ...], structure: bool) -> int:
    """Show records by their ids, every number with its unit, per what it is, and its source."""
    target = library(context)
    found, missing = look_up(target, ids)
    rows = [each.to_json() | ({"structure": each.structure} if structure else {}) for each in found]
    emit(context, rows if len(ids) > 1 else rows[0], lambda: show_materials(found))
    for error in missing:
        click.echo(f"matlit: {error}\n  → {error.hint}", err=True)
    return PARTLY if missing else DONE


@materials.command(
    "search",
    examples="""matlit materials search --chemsys Li-O --hull-max 0 --band-gap 1..3
    matlit materials search --formula TiO2 --sort band_gap --descending
    matlit materials search --where "k_vrh > 300" --where "density ..4" --sort k_vrh --descending
    matlit materials search --elements Li,P --exclude Fe --crystal-system cubic --json""",
)
@click.option("--elements", default="", metavar="Li,O", help="At least these elements.")
@click.option("--exclude", default="", metavar="Fe,Co", help="None of these elements.")
@click.option("--chemsys", default="", metavar="Li-Fe-P-O", help="Exactly these elements.")
@click.option("--formula", default="", metavar="F", help="This formula, in any spelling: all its polymorphs.")
@click.option("--nelements", metavar="A..B", help="How many different elements: 3, 2..4, 3..")
@click.option("--nsites", metavar="A..B", help="Atoms in the cell.")
@click.option("--band-gap", metavar="A..B", help="Band gap in eV: 1..3, 0.5.., ..2")
@click.option("--hull-max", type=float, metavar="E", help="Energy above the hull in eV/atom at most; 0 is stable.")
@click.option("--spacegroup", default="", metavar="G", help="Symbol or number: Fd-3m, 227.")
@click.option("--crystal-system", default="", metavar="S", help="cubic, hexagonal, trigonal, …")
@click.option("--where", multiple=True, metavar="C", help='Any other number: "k_vrh > 300", "density 2..5 g/cm3".')
@click.option("--functional", default="", metavar="F", help="Of the band gap: PBE, PBE+U, HSE06, …")
@click.option("--name", default="", metavar="N", help="Of a mineral or structure type, where records have names.")
@click.option("--sort", default="e_above_hull", show_default=True, metavar="BY", help="What to order by.")
@click.option("--descending", is_flag=True, help="Largest first.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most N records."
)
@click.pass_obj
def search(context: Context, /, sort: str, descending: bool, limit: int, **filters: Any) -> int:
    """Find records by what they are; the most stable come first."""
    from ui.engine import search_materials

    found, total = search_materials(library(context), filters, sort=sort, descending=descending, limit=limit)
    emit(context, [each.to_json() for each in found], lambda: show_materials(found, total=total))
    return DONE


@materials.command(
    "remove",
    examples="""matlit materials remove mp-149 mp-390
    matlit materials remove --source "Materials Project" --dry-run""",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--source", metavar="S", help="All records that came from this source, as `materials show` names it.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.pass_obj
def remove(context: Context, ids: tuple[str, ...], source: str | None, dry_run: bool) -> int:
    """Take records out of the library, with all that makes them found."""
    from ui.engine import chosen_materials

    target = library(context)
    chosen = chosen_materials(target, ids, source)
    if not dry_run:
        with target.writer("materials remove") as writer:
            writer.remove_materials(chosen)
    verb = "would remove" if dry_run else "removed"
    emit(context, chosen, lambda: click.echo(f"{verb} {len(chosen)} record{'' if len(chosen) == 1 else 's'}"))
    return DONE


def look_up(target: Library, ids: Sequence[str]) -> tuple[list[Material], list[NotInLibrary]]:
    """Return the records that are there, and why the others are not. Raises the first reason where none is."""
    found: list[Material] = []
    missing: list[NotInLibrary] = []
    for given in ids:
        try:
            found.append(target.material(given))
        except NotInLibrary as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return found, missing


# --- how it looks -----------------------------------------------------------------------------------------------------


def show_materials(found: Sequence[Material], *, total: int | None = None) -> None:
    """Print one line per record, and how many there are."""
    from assistant.tools.materials import describe
    from ui.show import say

    for material in found:
        say(describe(material))
    if total is not None:
        shown = f", {len(found)} shown; more: --limit N" if total > len(found) else ""
        say(f"{total} record{'' if total == 1 else 's'}{shown}", err=True)


def show_import_report(report: ImportReport) -> None:
    """Print what an import did, and why records were left out."""
    from ui.show import say

    rate = report.read / report.seconds if report.seconds else 0.0
    say(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.failures} failed; "
        f"the library holds {report.held} materials ({report.seconds:.1f} s, {rate:,.0f} records/s)"
    )
    for failure in report.failed[:SHOWN_FAILURES]:
        say(f"  {failure.error}" if failure.record else f"  {failure.path}: {failure.error}")
    if report.failures > SHOWN_FAILURES:
        say(f"  … and {report.failures - SHOWN_FAILURES} more; all with reasons: --json")


class MaterialsProgress:
    """A line on stderr that tells how far an import or a download is."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._told = False

    def __enter__(self) -> MaterialsProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._told:
            click.echo("", err=True)

    def imported(self, report: ImportReport) -> None:
        """Tell how far an import is."""
        rate = report.read / report.seconds if report.seconds else 0.0
        self._line(f"{report.read:,} records, {report.failures:,} failed, {rate:,.0f}/s")

    def downloaded(self, progress: Progress) -> None:
        """Tell how far a download is; waiting is told outside of terminals too."""
        if progress.why and not self._quiet:
            click.echo(f"{progress.why}; trying again in {progress.waiting_s:.0f} s", err=True)
        else:
            self._line(f"{progress.done:,} of {'?' if progress.total is None else f'{progress.total:,}'} downloaded")

    def _line(self, text: str) -> None:
        import sys

        if not self._quiet and sys.stderr.isatty():
            self._told = True
            click.echo(f"\r{text} ", nl=False, err=True)
