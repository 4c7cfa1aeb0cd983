"""Matrix products: large ones take another way than small ones, and give the same."""

import pytest
import torch
from torch import Tensor

from toolbox.sparse.backends.products import multiply, multiply_transposed, padded

PRECISION = {torch.float32: 1e-6, torch.float64: 1e-14}


def assert_product(product: Tensor, a: Tensor, b: Tensor) -> None:
    """To a part of the sum of all terms, whatever their signs."""
    error = (product.double() - a @ b) / (a.abs() @ b.abs())
    assert error.abs().max() < PRECISION[product.dtype]


@pytest.mark.parametrize("rows", [1, 70, 3000])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (48, 40), (96, 64)])
@pytest.mark.parametrize("dtype", PRECISION)
def test_products_are_those_of_plain_matrices(rows, before, after, dtype):
    a, b = (torch.randn(*shape, dtype=torch.float64) for shape in ((rows, before), (before, after)))
    other = torch.randn(rows, after, dtype=torch.float64)
    assert_product(multiply(a.to(dtype), b.to(dtype)), a, b)
    assert_product(multiply(a.to(dtype), b.T.contiguous().to(dtype).T), a, b)
    assert_product(multiply_transposed(a.to(dtype), other.to(dtype)), a.T, other)


def test_products_of_no_rows():
    a, b = torch.ones(0, 3), torch.ones(3, 2)
    assert multiply(a, b).shape == (0, 2)
    assert torch.equal(multiply_transposed(a, torch.ones(0, 2)), torch.zeros(3, 2))


def test_numbers_of_rows_are_rounded_up_on_a_cpu_alone():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [padded(count, cpu) for count in (0, 1, 64, 65, 1024, 1025)] == [0, 64, 64, 128, 1024, 1280]
    assert padded(65, cuda) == 65
