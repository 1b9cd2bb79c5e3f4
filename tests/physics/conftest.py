"""Every test that asks for `model` runs on all models, `atoms` on all structures."""

import pytest
from battery import MODELS, SYSTEMS, make_model


@pytest.fixture(params=list(MODELS))
def model_name(request):
    return request.param


@pytest.fixture
def model(model_name):
    return make_model(model_name)


@pytest.fixture(params=list(SYSTEMS))
def atoms(request):
    return SYSTEMS[request.param]()
