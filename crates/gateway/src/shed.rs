//! Refuses a connection that there is no room for: at once, and so that its peer can read why.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

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
    pub fn refuse(&self, stream: TcpStream) {
        let Ok(permit) = self.lingering.clone().try_acquire_owned() else { return };
        let Ok(mut stream) = stream.into_std() else { return };
        // A new socket has room for it.
        if stream.write_all(ANSWER).is_err() || stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let Ok(mut stream) = TcpStream::from_std(stream) else { return };
        tokio::spawn(async move {
            let mut unread = [0; 4096];
            let drained =
                async { while stream.read(&mut unread).await.is_ok_and(|count| count > 0) {} };
            let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS_MAX), drained).await;
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
