"""A global model on the Hugging Face Hub: a folder with its file and its card, uploaded as one commit."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mosaic_fl.exchange.card import CARD, Export, model_card
from mosaic_fl.exchange.model_file import FILE
from mosaic_fl.extras import require
from mosaic_fl.release import release

if TYPE_CHECKING:
    from mosaic_fl.exchange.global_model import GlobalModel


def write_folder(model: "GlobalModel", folder: Path, result: Mapping[str, Any]) -> list[Path]:
    """Write the files that a repository of the Hub has into `folder`; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / FILE, overwrite=True)
    (folder / CARD).write_text(model_card(model, result, Export("mosaic"), release()), "utf-8")
    return [folder / FILE, folder / CARD]


def push(model: "GlobalModel", repo_id: str, result: Mapping[str, Any], *, private: bool, token: str | None) -> str:
    """Create the repository where it is missing, upload model and card, and return the commit's address.

    Raises UsageError without the package `huggingface_hub`, and what that raises where the Hub refuses.
    """
    require("push_to_hub", "huggingface_hub")
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with TemporaryDirectory() as folder:
        write_folder(model, Path(folder), result)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message="A global model of mosaic-fl, and its card"
        )
    return str(commit.commit_url)
