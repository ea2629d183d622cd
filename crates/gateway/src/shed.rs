//! Refuses a connection that there is no room for, or that may not come in: at once, and so that its
//! peer can read why.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use domain::code::Retry;
use domain::{Code, Problem};
use http::StatusCode;

use crate::stall::Stream;

/// Refused connections that are kept open until their request has come: closed with unread bytes,
/// they would be reset and the answer lost. More are closed at once.
const LINGERING_MAX: usize = 32;
/// How long each is kept, in milliseconds.
const LINGER_MS_MAX: u64 = 500;

/// The answer to every request of a connection.
#[derive(Clone)]
pub struct Refusal(Arc<[u8]>);

impl Refusal {
    /// Says this, over HTTP/1.1.
    pub fn new(problem: &Problem) -> Refusal {
        let body = serde_json::to_string(problem).unwrap_or_default();
        let status = StatusCode::from_u16(problem.code.http()).unwrap_or_default();
        let retry = if problem.code.retry() == Retry::Soon { "Retry-After: 1\r\n" } else { "" };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             {retry}Connection: close\r\n\r\n{body}",
            body.len()
        );
        Refusal(text.into_bytes().into())
    }

    /// There is no room.
    pub fn busy() -> Refusal {
        static BUSY: LazyLock<Refusal> = LazyLock::new(|| {
            let problem =
                Problem::new(Code::ServerBusy, "the server has as many connections as it may");
            Refusal::new(&problem.help("try again in a second"))
        });
        BUSY.clone()
    }
}

/// What refuses.
pub struct Shedding {
    lingering: Arc<Semaphore>,
}

impl Shedding {
    /// Nothing yet.
    pub fn new() -> Shedding {
        Shedding { lingering: Arc::new(Semaphore::new(LINGERING_MAX)) }
    }

    /// Answers and closes. Waits for nobody.
    pub fn refuse(&self, mut stream: impl Stream, refusal: &Refusal) {
        let Ok(permit) = self.lingering.clone().try_acquire_owned() else { return };
        let answer = refusal.0.clone();
        tokio::spawn(async move {
            let refused = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                let mut unread = [0; 4096];
                while stream.read(&mut unread).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS_MAX), refused).await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_why_and_how_long_it_is() {
        let text = String::from_utf8(Refusal::busy().0.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.code, Code::ServerBusy);
    }
}
