"""A user's mistake ends in one paragraph, wherever it was noticed."""

import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from toolbox.errors import UserError, exit_on_user_error, user_message


class Broken(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> None:
        raise UserError("scan1/depth.pfm", "is truncated", "Restore the file")


PARAGRAPH = "scan1/depth.pfm: is truncated. Restore the file."


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_data_loader_is_one_paragraph(workers, capsys):
    @exit_on_user_error
    def main() -> None:
        list(DataLoader(Broken(), num_workers=workers))

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {PARAGRAPH}\n"


def test_other_errors_keep_their_traceback():
    @exit_on_user_error
    def main() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        main()


def test_what_an_error_was_raised_from_is_told():
    try:
        raise RuntimeError("wrapped") from UserError("a.py", "is wrong", "Mend it")
    except RuntimeError as error:
        assert user_message(error) == "a.py: is wrong. Mend it."


def test_it_survives_pickling():
    copy = pickle.loads(pickle.dumps(UserError("a", "b", "c")))
    assert (copy.where, copy.fault, copy.remedy) == ("a", "b", "c")
