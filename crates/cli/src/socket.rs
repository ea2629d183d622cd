//! Lets the HTTP client speak over the Unix socket of a data directory.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::local::Owned;

/// A client whose every connection is one to this server, whatever the URL.
pub fn agent(config: Config, owned: Owned) -> Agent {
    Agent::with_parts(config, OwnersConnector(owned), NoNames)
}

struct OwnersConnector(Owned);

impl fmt::Debug for OwnersConnector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.data().display())
    }
}

impl Connector for OwnersConnector {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<Socket>, Error> {
        let stream = self.0.connect()?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Socket { stream, is_deaf: false, buffers }))
    }
}

/// There is no name to be looked up; the client wants an address nevertheless.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}

struct Socket {
    stream: UnixStream,
    /// Whether the server takes nothing any more: it may have answered before it had read all.
    is_deaf: bool,
    buffers: LazyBuffers,
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(formatter)
    }
}

/// What an operation that took too long is told as.
fn timed_out(error: io::Error, timeout: &NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.is_deaf {
            return Ok(());
        }
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(timeout.not_zero().map(|limit| *limit))?;
        let output = &self.buffers.output()[..amount];
        match self.stream.write_all(output) {
            // The answer is there to be read nevertheless, or says by its absence what happened.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.is_deaf = true;
                Ok(())
            }
            written => written.map_err(|error| timed_out(error, &timeout)),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(timeout.not_zero().map(|limit| *limit))?;
        let read = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| timed_out(error, &timeout))?,
            }
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Between requests there is nothing to be read: neither bytes nor an end.
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.read(&mut [0]));
        let is_quiet = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        !self.is_deaf && is_quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use domain::DataDirectory;

    use super::*;
    use crate::local::Door;

    /// A server that answers with this as soon as it has read a head, and closes; and its client.
    fn hasty(answer: &'static [u8]) -> (tempfile::TempDir, Agent) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(directory.path());
        let door = Door::open(&data).unwrap();
        let owned = Owned::find(data, &door.cookie.instance()).unwrap();
        std::thread::spawn(move || {
            for stream in door.socket.incoming() {
                let stream = stream.unwrap();
                let mut lines = io::BufReader::with_capacity(16, &stream).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                (&stream).write_all(answer).unwrap();
            }
        });
        let config = Agent::config_builder().http_status_as_error(false).build();
        (directory, agent(config, owned))
    }

    #[test]
    fn an_answer_before_all_was_sent_is_read() {
        let answer = b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n";
        let (_directory, agent) = hasty(answer);
        for bytes in [2, 16 << 20] {
            for _ in 0..20 {
                let sent = agent.post("http://localhost/").send(&vec![b'x'; bytes][..]);
                let mut response = sent.unwrap();
                assert_eq!(response.status(), 409);
                assert_eq!(response.body_mut().read_to_string().unwrap(), "no\n");
            }
        }
    }

    #[test]
    fn a_server_that_goes_away_is_an_error() {
        let (_directory, agent) = hasty(b"");
        for bytes in [2, 16 << 20] {
            assert!(agent.post("http://localhost/").send(&vec![b'x'; bytes][..]).is_err());
        }
    }
}
