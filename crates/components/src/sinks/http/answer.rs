//! What an answer means: accepted, to be tried again, or refused for good; and how long the receiver asks to be left
//! alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

/// The longest pause that an answer can ask for. A receiver that asks for more is tried again after this.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// What an answer says about a batch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The receiver has it.
    Accepted,
    /// Not now; the same request may be accepted later.
    Later,
    /// Something in the batch is wrong, or it is too large: halves of it are tried.
    BadBatch,
    /// No record would be accepted now, whatever it is: wrong address, method, headers or credentials. Somebody has to
    /// change something, here or there, so it is tried again like [`Later`](Self::Later), and the cause says whose fault
    /// it is.
    BadRequest,
}

/// The meaning of a status. `later` are further statuses that the user declared to be worth another try.
pub(super) fn meaning(status: StatusCode, later: &[u16]) -> Meaning {
    let code = status.as_u16();
    match code {
        200..=299 => Meaning::Accepted,
        _ if later.contains(&code) => Meaning::Later,
        408 | 423 | 425 | 429 => Meaning::Later,
        // Not implemented, and a version that the receiver does not speak.
        501 | 505 => Meaning::BadRequest,
        500..=599 => Meaning::Later,
        // What is wrong is in the records: nonsense, a conflict, too large, not to be processed.
        400 | 409 | 413 | 422 => Meaning::BadBatch,
        _ => Meaning::BadRequest,
    }
}

/// The pause that an answer asks for: a number of seconds, or a date (RFC 9110, section 10.2.3). At most
/// [`LONGEST_ASKED`]; what is neither counts as not asked.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => LONGEST_ASKED,
        Err(_) => {
            let at = DateTime::parse_from_rfc2822(value).ok()?;
            at.with_timezone(&Utc).signed_duration_since(now).to_std().unwrap_or_default()
        }
    };
    Some(pause.min(LONGEST_ASKED))
}

/// The beginning of an answer's body, as part of a cause: one line of at most 200 characters.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(800)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16) -> Meaning {
        meaning(StatusCode::from_u16(code).unwrap(), &[401])
    }

    #[test]
    fn statuses_have_their_meaning() {
        for (codes, meaning) in [
            (&[200, 201, 202, 204, 299][..], Meaning::Accepted),
            (&[408, 423, 425, 429, 500, 502, 503, 504, 507, 599], Meaning::Later),
            (&[400, 409, 413, 422], Meaning::BadBatch),
            (&[300, 301, 302, 307, 308, 403, 404, 405, 406, 410, 411, 415, 421, 431, 501, 505], Meaning::BadRequest),
            (&[401], Meaning::Later),
        ] {
            codes.iter().for_each(|code| assert_eq!(of(*code), meaning, "{code}"));
        }
        assert_eq!(meaning(StatusCode::UNAUTHORIZED, &[]), Meaning::BadRequest, "unless the user says otherwise");
    }

    #[test]
    fn a_pause_is_seconds_or_a_date_and_bounded() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:30Z").unwrap().with_timezone(&Utc);
        for (value, pause) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86400", Some(600)),
            ("99999999999999999999999", Some(600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), pause.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(b"{\n  \"error\": \"no such index\"\n}\x07"), "{ \"error\": \"no such index\" }");
        assert_eq!(excerpt(&[b'x'; 5_000]).len(), 200);
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
