//! Refuses a connection that there is no room for: at once, and so that its peer can read why.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::stall::Stream;

/// The answer to every request.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 108\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"code\":\"server_busy\",\"error\":\"the server has as many connections as it may\",\"help\":\"try again in a second\"}";
/// Refused connections that are kept open until their request has come: closed with unread bytes,
/// they would be reset and the answer lost. More are closed at once.
const LINGERING_MAX: usize = 32;
/// How long each is kept, in milliseconds.
const LINGER_MS_MAX: u64 = 500;

/// What refuses.
pub struct Shedding {
    lingering: Arc<Semaphore>,
}

impl Shedding {
    /// Nothing yet.
    pub fn new() -> Shedding {
        Shedding { lingering: Arc::new(Semaphore::new(LINGERING_MAX)) }
    }

    /// Answers 503 and closes. Waits for nobody.
    pub fn refuse(&self, mut stream: impl Stream) {
        let Ok(permit) = self.lingering.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let refused = async {
                stream.write_all(ANSWER).await?;
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
    #[test]
    fn the_length_is_that_of_the_body() {
        let text = std::str::from_utf8(super::ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        let problem: domain::Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.code, domain::Code::ServerBusy);
    }
}
