"""Words for people: an event as a sentence, seconds and bytes as text. Log lines and reports use them."""

from mosaic_fl.watch.event import Event

ANSWERS = {"contribute": "contribution"}  # by stage: what the client's answer is called


def sentence(event: Event) -> str:
    """One line that says what happened, as "client 2: contribution received, 1.2 MB after 34 s"."""
    text = _run(event) if event.client < 0 else f"client {event.client}: {_client(event)}"
    reason = event.text("reason")
    return f"{text}: {reason}" if reason else text


def span(seconds: float) -> str:
    """A time as "34 s", "12 min", "3.5 h" or "2.1 days"."""
    if seconds < 119.5:  # 120 s is 2 min
        return f"{max(seconds, 0):.0f} s"
    if seconds < 119.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def size(count: float) -> str:
    """Bytes as "340 bytes", "56 kB", "1.2 MB" or "3.4 GB" (powers of 1,000)."""
    if count < 1000:
        return f"{count:.0f} bytes"
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _run(event: Event) -> str:
    stage = event.text("stage")
    limit = event.number("limit")
    match event.kind:
        case "run_started":
            return f"run started, process {event.count('pid')} on {event.text('host')}"
        case "stage_started":
            count = len(event.clients("expected"))
            clients = f", {count} clients" if count else ""
            return f"stage {stage} started{clients}" + (f", at most {span(limit)}" if limit else "")
        case "stage_progress":
            return f"stage {stage}: {100 * event.number('done') / max(event.number('total'), 1):.0f} %"
        case "stage_finished":
            answers = f", answers: {event.count('received')}" if "received" in event.facts else ""
            return f"stage {stage} finished{answers}"
        case _:
            return event.kind.replace("_", " ")


def _client(event: Event) -> str:
    stage = event.text("stage")
    match event.kind:
        case "joined":
            architecture = event.text("architecture")
            samples = event.count("samples")
            details = [f"with {architecture}"] if architecture else []
            details += [f"{samples:,} samples"] if samples else []
            return " ".join(["joined", ", ".join(details)]).rstrip()
        case "asked":
            return f"asked to {stage}" if stage in ANSWERS else f"asked for {stage}"
        case "received":
            return f"{ANSWERS.get(stage, stage) or 'answer'} {_receipt(event)}"
        case "refused":
            return f"{ANSWERS.get(stage, stage) or 'answer'} refused"
        case "left_out":
            return f"left out of {stage}" if stage else "left out"
        case "returned":
            return "is back"
        case _:
            return event.kind.replace("_", " ")


def _receipt(event: Event) -> str:
    if event.facts.get("kept") is True:
        return "is here from before"
    seconds = f" after {span(event.number('seconds'))}" if "seconds" in event.facts else ""
    return "received" + (f", {size(event.number('bytes'))}" if "bytes" in event.facts else "") + seconds
