"""Whether there is a wandb server to log to: asked shortly, and once it was lost never again."""

import netrc
import os
import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

PATIENCE = 5  # seconds for a first run; an answer at all must come in LISTEN: less than 10 with all around
LISTEN = 3


class Server:
    """What is known of it in this process."""

    lost: str = ""  # why nothing more is sent to it


def why_offline(mode: str) -> str | None:
    """Why a run is not to be online, or None."""
    asked = os.environ.get("WANDB_MODE") if mode == "auto" else mode
    if asked in ("offline", "disabled", "dryrun"):
        return f"wandb is {asked}"
    if Server.lost:
        return Server.lost
    if not logged_in():
        return "wandb has no login"
    Server.lost = _unreachable(_address())
    return Server.lost or None


def logged_in() -> bool:
    """Whether wandb has a key for its server, without asking it to look."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        host = urlsplit(_address()).hostname or ""
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _address() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")


def _unreachable(address: str) -> str:
    """What is wrong with the server, or nothing; a thread, because looking up a name has no timeout."""
    found = [f"no answer in {LISTEN} s"]

    def ask() -> None:
        try:
            urllib.request.urlopen(f"{address}/graphql", timeout=LISTEN).close()
            found[0] = ""
        except urllib.error.HTTPError as error:  # it need not like the question
            found[0] = "" if error.code < 500 else f"answers {error.code}"
        except urllib.error.URLError as error:  # whom it trusts is for wandb to say
            found[0] = "" if isinstance(error.reason, ssl.SSLError) else str(error.reason)
        except (OSError, ValueError) as error:
            found[0] = str(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LISTEN)
    return f"wandb cannot be reached at {urlsplit(address).hostname} ({found[0]})" if found[0] else ""
