"""From what a receiver answered to what happens next. Called by the channels.

Which codes are worth another try follows the webhook chapter of the design: 408, 409, 425, 429 and
every 5xx; 410 means "leave me alone" (RFC 9110, section 15.5.11); a redirect is a refusal, because
following it could lead anywhere.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from alerting.transport import Answer, MalformedAnswer, Poster
from fleetmend.errors import PortError, PortRefused
from fleetmend.model.notifications import Delivery, DeliveryState

RETRY_AFTER_MAX_S = 3600.0
"""A receiver may ask for patience, not for ever."""

_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429})


def judge(answer: Answer, *, now_s: float) -> Delivery:
    """What an answer means."""
    said = f"HTTP {answer.status}"
    match answer.status:
        case status if 200 <= status < 300:
            return Delivery(DeliveryState.ACCEPTED, said)
        case 410:
            return Delivery(DeliveryState.GONE, said)
        case status if status in _WORTH_ANOTHER_TRY or 500 <= status < 600:
            wait_s = retry_after_s(answer.retry_after, now_s=now_s)
            return Delivery(DeliveryState.RETRY, said, wait_s)
        case _:
            return Delivery(DeliveryState.REJECTED, said)


def retry_after_s(header: str, *, now_s: float) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110, section 10.2.3: seconds or a date);
    None when it says nothing that can be understood."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


def attempt(
    poster: Poster, url: str, *, body: bytes, headers: Mapping[str, str], now_s: float
) -> tuple[Delivery, Answer | None]:
    """Post once; what it means, and the answer when there was one."""
    try:
        answer = poster.post(url, body=body, headers=headers)
    except MalformedAnswer as error:
        return Delivery(DeliveryState.RETRY, error.what, answer=error.answer or b"?"), None
    except PortRefused as error:
        return Delivery(DeliveryState.REJECTED, str(error)), None
    except PortError as error:
        return Delivery(DeliveryState.RETRY, str(error)), None
    return judge(answer, now_s=now_s), answer
