"""Check a client and write its gate before its node starts, in a separate process: prepare.py SITE.toml

The checks need torch and Flower: hundreds of megabytes, which the supervising process does not need later.
"""

import sys
from pathlib import Path

from mosaic_fl.deploy.gate import WARM, require_app_module, write_gate
from mosaic_fl.deploy.processes import Command, as_words, finish, last_line
from mosaic_fl.deploy.warm import import_all, require_executor_module
from mosaic_fl.engines.flower.extra import QUIET
from mosaic_fl.engines.flower.site import SiteFile, load_site
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.notes import NOTE, note, print_notes

USAGE_ERROR = 2  # exit code of the process for an error that the user must correct


def prepare(site: Path) -> None:
    """Run `prepare_in_process` in a separate process and repeat its notes here.

    Raises UsageError with the message of that process, or MosaicError if it ended in another way.
    """
    words = as_words([sys.executable, "-P", "-m", "mosaic_fl.deploy.prepare", site])
    process = finish(Command(words, QUIET))
    for line in process.stderr.splitlines():
        if line.startswith(NOTE):
            note(line.removeprefix(NOTE))
    message = last_line(process.stderr)  # a library or the user's own model may have printed lines before it
    if process.returncode == USAGE_ERROR:
        raise UsageError(message)
    if process.returncode:
        error = MosaicError(f"the client of {site} could not be prepared: {message or 'its process died'}")
        error.add_note(process.stderr)
        raise error


def prepare_in_process(site: SiteFile) -> None:
    """Check Flower, the data and the model of `site`, then write the client's gate; raises UsageError."""
    require_app_module("client")
    if WARM:
        require_executor_module()
        import_all()  # so that a failing import ends this command, not the answer to a message
    check_data(site)
    write_gate(site.folder / "gate", "client")


def check_data(site: SiteFile) -> None:
    """Raise UsageError if the data, model or generator of the site cannot be loaded, or do not fit its privacy."""
    from mosaic_fl.client.contribute import Site
    from mosaic_fl.client.private_plan import check_plan
    from mosaic_fl.config import Config
    from mosaic_fl.config.model_names import NO_MODEL, is_network
    from mosaic_fl.config.privacy_checks import check_private
    from mosaic_fl.encoders.reading import load_own
    from mosaic_fl.experts.answers.kind import require_held
    from mosaic_fl.experts.reading import check_fields
    from mosaic_fl.models import trust, trust_own
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.registries import name_generator
    from mosaic_fl.runs.privacy import note_weak_signal, private_architecture
    from mosaic_fl.storage.keys import read_key

    if site.sign:
        read_key(site.sign)
    for spec in site.trust:
        trust_own(spec)
    if site.generator:
        name_generator(site.generator)
    samples = load_own(site.data, site, site.federation(), site.schema_file)
    require_held([site.model])
    check_fields(trust(site.model), samples.schema, samples.samples.fields)
    if site.epsilon:
        private = Config(privacy=site.privacy)
        check_private(private, [site.model])
        if site.model != NO_MODEL or samples.schema.of_vectors:  # else the server names the encoder
            # Of rows no generator is private: with a network the server has to ask for none.
            rows = not samples.schema.joins and samples.schema.kind.name == "table" and is_network(site.model)
            private = private.with_values({"generator.family": "none"}) if rows else private
            check_plan(samples.schema, site.model, private)
            private_architecture(site.model, private)
            note_weak_signal(Site(site.client, samples, site.model), private)
    find_device(site.device)


if __name__ == "__main__":
    try:
        with print_notes():
            prepare_in_process(load_site(Path(sys.argv[1])))
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except MosaicError as error:
        sys.exit(str(error))
