"""The queries of a distillation by files, and the answers that came: what is kept of them in its folder."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, WaitingError, in_one_line
from mosaic_fl.exchange.query import Answer, Query, answer_to, received
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.notes import note
from mosaic_fl.runs.folder import QUERIES
from mosaic_fl.storage.files import read_bytes, write_atomic

ANSWERS = "answers"
RESERVE = 2**20  # bytes of an answer's file where no query is open


class AnswerFiles:
    """The folder of one distillation with black boxes: `queries/` for its sites, `answers/` from them."""

    def __init__(self, folder: Path, schema: Schema, signers: Signers | None = None) -> None:
        """With `signers` each answer must be signed by the client that its query is for."""
        self.folder = folder
        self.signers = signers
        self.schema = schema
        self.answered = dict[str, Answer]()  # by the digest of their query

    @cached_property
    def queries(self) -> dict[str, Query]:
        """All queries so far, by their digests; raises UsageError where a file is damaged."""
        try:
            loaded = [Query.load(path) for path in sorted((self.folder / QUERIES).glob("*.query"))]
        except UsageError as error:
            raise UsageError(f"{error}: delete it, and --resume asks its samples again") from error
        for query in loaded:
            if query.schema != self.schema:
                raise UsageError(f"{self.place(query)} is of another federation: delete it")
        return {query.digest: query for query in loaded}

    def place(self, query: Query) -> Path:
        """The file of a query."""
        return self.folder / QUERIES / f"client-{query.client}-round-{query.round}.query"

    def answer_place(self, query: Query) -> Path:
        """The file of the answer to a query."""
        return self.folder / ANSWERS / f"client-{query.client}-round-{query.round}.answer"

    def receive(self, paths: Sequence[Path] = ()) -> None:
        """Take the answers in `answers/`, and those in `paths`, which are copied there once they are checked.

        One that is refused is told with the reason, and nothing else is lost. Raises UsageError where nothing is open.
        """
        inside = self.folder / ANSWERS
        places = {self.answer_place(query) for query in self.queries.values()}
        mine = [path for path in inside.iterdir() if path.is_file()] if inside.is_dir() else []
        mine.sort(key=lambda path: (path not in places, path))  # what was taken before counts first
        for path in [*mine, *paths]:
            if path.name.endswith(".partial"):
                continue
            try:
                self._take(path)
            except UsageError as error:
                note(f"an answer is refused: {in_one_line(error)}")

    def _take(self, path: Path) -> None:
        most = max([query.most_answer_bytes for query in self.queries.values()], default=RESERVE)
        data = read_bytes(path, most)
        signer = None if self.signers is None else self.signers.require(data, str(path), command="answer").client
        manifest, tensors, digest = received(data, str(path))
        query = self.queries.get(digest)
        if query is None:
            raise UsageError(f"{path}: it answers no query of {self.folder}: one of another run, or altered")
        if signer is not None and signer != query.client:
            raise UsageError(f"{path}: it answers a query to client {query.client}, and is signed as client {signer}")
        answer = answer_to(query, manifest, tensors, str(path))
        place = self.answer_place(query)
        if digest in self.answered:
            if data != read_bytes(place, most):
                raise UsageError(f"{path}: client {query.client} has answered round {query.round} already ({place})")
            return
        if path.resolve() != place.resolve():
            write_atomic(place, data)
        self.answered[digest] = answer

    def books(self, clients: Sequence[int]) -> dict[int, AnswerBook]:
        """What each black box has answered so far."""
        books = {client: AnswerBook(client, self.schema.num_classes) for client in clients}
        for digest, answer in self.answered.items():
            query = self.queries[digest]
            if query.client in books:
                books[query.client].add(query.samples, answer.answers.log_probabilities(self.schema.num_classes))
        return books

    def open_queries(self) -> list[Query]:
        """The queries without an answer, in the order of clients and rounds."""
        waiting = [query for digest, query in self.queries.items() if digest not in self.answered]
        return sorted(waiting, key=lambda query: (query.client, query.round))

    def ask(self, missing: Mapping[int, Samples]) -> WaitingError:
        """Write a query for each client whose `missing` samples no open query has; the error that ends this process."""
        for client, samples in missing.items():
            asked = AnswerBook(client, self.schema.num_classes)
            for query in self.open_queries():
                if query.client == client:
                    asked.add(query.samples, asked.rows.new_zeros(len(query.samples), self.schema.num_classes))
            fresh = asked.missing(samples)
            if len(fresh):
                rounds = [query.round for query in self.queries.values() if query.client == client]
                query = Query(client, 1 + max(rounds, default=0), self.schema, fresh)
                write_atomic(self.place(query), query.content)
                self.queries[query.digest] = query
        return waiting_for(self)


def waiting_for(files: AnswerFiles) -> WaitingError:
    """The line that says which answers are missing, and how to go on."""
    waiting = files.open_queries()
    texts = [f"{files.place(query)} ({len(query.samples):,} samples)" for query in waiting]
    verb = "waits" if len(waiting) == 1 else "wait"
    return WaitingError(
        f"{len(waiting)} {'query' if len(waiting) == 1 else 'queries'} {verb} for an answer: {', '.join(texts)}; at "
        "the site: mosaic answer QUERY --model MODEL --out FILE.answer; then here: the same command with --answers "
        "FILE.answer --resume"
    )
