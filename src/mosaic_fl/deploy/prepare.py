"""What a client checks and writes before its node starts, in a process of its own: prepare.py SITE.toml

It takes torch and Flower, hundreds of megabytes that the process which supervises the node has no other use for.
"""

import sys
from pathlib import Path

from mosaic_fl.deploy.gate import WARM, require_known_flower, write_gate
from mosaic_fl.deploy.processes import Command, as_words, finish, last_line
from mosaic_fl.deploy.warm import import_all, require_known_executor
from mosaic_fl.engines.flower.extra import QUIET
from mosaic_fl.engines.flower.site import SiteFile, load_site
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.notes import NOTE, note, print_notes

WRONG = 2  # the exit code of a process that found something that the user has to mend


def prepare(site: Path) -> None:
    """Run `prepare_here` in a process of its own, whose notes are told.

    Raises UsageError with what it found wrong; MosaicError where it ended otherwise.
    """
    words = as_words([sys.executable, "-P", "-m", "mosaic_fl.deploy.prepare", site])
    done = finish(Command(words, QUIET))
    for line in done.stderr.splitlines():
        if line.startswith(NOTE):
            note(line.removeprefix(NOTE))
    said = last_line(done.stderr)  # after whatever a library or the user's own model printed
    if done.returncode == WRONG:
        raise UsageError(said)
    if done.returncode:
        error = MosaicError(f"the client of {site} could not be prepared: {said or 'its process died'}")
        error.add_note(done.stderr)
        raise error


def prepare_here(site: SiteFile) -> None:
    """Write the client's gate.

    Raises UsageError unless Flower is one that we know, the data can be read, and the model be built for them.
    """
    require_known_flower("client")
    if WARM:
        require_known_executor()
        import_all()  # what cannot be imported is found here, not by a message that nobody answers
    check_data(site)
    write_gate(site.folder / "gate", "client")


def check_data(site: SiteFile) -> None:
    """Raise UsageError unless the site's data can be read, its model be built for it, and its generator imported."""
    from mosaic_fl.data.schema_file import load_own
    from mosaic_fl.experts.naming import check
    from mosaic_fl.models import trust, trust_own
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.registries import name_generator

    for spec in site.trust:
        trust_own(spec)
    if site.generator:
        name_generator(site.generator)
    samples = load_own(site.data, site, site.federation(), site.schema_file)
    check(trust(site.model), samples.schema)
    find_device(site.device)


if __name__ == "__main__":
    try:
        with print_notes():
            prepare_here(load_site(Path(sys.argv[1])))
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG)
    except MosaicError as error:
        sys.exit(str(error))
