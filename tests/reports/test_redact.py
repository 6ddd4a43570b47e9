import time
from pathlib import Path

import pytest
import yaml

from condiff.reports.redact import escaped, printable, redact, secret

CANARY = "hunter2xyz"

COMMANDS = [
    f"python run.py logger.wandb.api_key={CANARY} data.path=x",
    f"python run.py 'logger.token={CANARY} b {CANARY}' seed=1",
    f"WANDB_API_KEY={CANARY} python run.py +data.secret='{CANARY} {CANARY}'",
    f"python run.py logger={{api_key:{CANARY},project:p}}",
    f"python run.py logger.apiKey={CANARY},{CANARY}2",
    f"get --password {CANARY} --n 3",
    f"get --auth-token={CANARY}",
    f"https://me:{CANARY}@host/x?seed=1",
    f"https://{CANARY}@host/x",
    f"s3://{CANARY}:p@{CANARY}@bucket/path",
    f"https://host/x?api_key={CANARY}&seed=1",
    f"data.urls=https://host/x.tar?X-Amz-Date=1&X-Amz-Signature={CANARY}&v=1",
    f"https://host/x.tar?sp=r&sig={CANARY}",
    f'{{"hf_token": "{CANARY} x", "n": 1}}',
    f"password : {CANARY}",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_no_secret_is_left_in_a_line_of_text(text):
    assert CANARY in text
    assert CANARY not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "APIKEY", "apiKeyId", "HF_TOKEN", "tokens", "client_secret", "db.password", "passwd"],
)
def test_nothing_under_a_secret_name_is_shown_however_deep(name):
    config = {"a": [{name: {"deep": [CANARY]}}, {name: 12345}]}
    assert redact(config) == {"a": [{name: "***"}, {name: "***"}]}


@pytest.mark.parametrize(
    "name",
    ["scale", "tokenizer", "keypoints", "signal", "num_tokens", "max_tokens", "text.num_keys", "keyboard"],
)
def test_names_that_only_look_alike_are_shown(name):
    assert not secret(name)
    assert redact({name: 77}) == {name: 77}
    assert redact(f"{name}=77") == f"{name}=77"


def test_whether_a_secret_is_set_may_be_shown():
    assert redact({"api_key": None, "use_token": True}) == {"api_key": None, "use_token": True}


def test_one_argument_is_secret_to_its_end():
    assert redact([f"db.password=correct {CANARY}", "seed=1"]) == ["db.password=***", "seed=1"]


def test_the_rest_of_a_line_stays_readable():
    line = f"python run.py experiment=cfg_latent a.token={CANARY} guidance.scale=2 data.path=https://u:p@h/x"
    shown = "python run.py experiment=cfg_latent a.token=*** guidance.scale=2 data.path=https://***@h/x"
    assert redact(line) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["a" * 50_000, "key." * 10_000, "key'" * 10_000, "'key=" * 10_000, "http://" * 10_000, "--" * 20_000],
)
def test_redaction_takes_time_in_proportion_to_the_text(text):
    start = time.perf_counter()
    redact(text)
    assert time.perf_counter() - start < 2


def test_escaped_text_holds_in_an_element_and_in_a_quoted_attribute():
    assert escaped("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert escaped("a_key=5 <") == "a_key=*** &lt;"


def test_text_can_neither_steer_a_terminal_nor_break_utf8():
    assert printable("a\033[31mb\x00c\u202ed\udcff") == "a�[31mb�c�d�"
    assert printable("数 é\u3000👩\u200d🔬\nx") == "数 é\u3000👩\u200d🔬\nx"


def test_no_number_of_the_real_configs_is_hidden():
    files = sorted((Path(__file__).parents[2] / "conf").glob("*/*.yaml"))
    texts = [yaml.safe_load(path.read_text()) for path in files]
    assert len(texts) > 20
    for config in texts:
        assert redact(config) == config
