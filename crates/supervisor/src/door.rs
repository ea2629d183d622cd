//! The supervisor's listening socket, which is bound again if somebody removes its file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// After a connection could not be taken, in milliseconds: without descriptors it would be tried
/// again at once, for ever.
const PAUSE_MS: u64 = 100;

/// A listening socket and its file.
pub struct Door {
    path: PathBuf,
    listener: UnixListener,
    inode: u64,
}

impl Door {
    /// Listens; a file that lies there is an earlier process's, since this one holds the data
    /// directory.
    pub fn open(path: PathBuf) -> io::Result<Door> {
        let (listener, inode) = bind(&path)?;
        Ok(Door { path, listener, inode })
    }

    /// The next connection.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    eprintln!("supervise: a connection could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                }
            }
        }
    }

    /// Binds again if the file is not there any more. Connections that there are stay.
    pub fn keep(&mut self) -> io::Result<()> {
        if self.path.symlink_metadata().is_ok_and(|metadata| metadata.ino() == self.inode) {
            return Ok(());
        }
        (self.listener, self.inode) = bind(&self.path)?;
        Ok(())
    }

    /// Removes the file.
    pub fn close(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &PathBuf) -> io::Result<(UnixListener, u64)> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    Ok((listener, path.symlink_metadata()?.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_whose_file_is_removed_is_bound_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/door.sock");
        std::fs::create_dir(directory.path().join("run")).unwrap();
        let mut door = Door::open(path.clone()).unwrap();
        door.keep().unwrap();
        std::fs::remove_dir_all(directory.path().join("run")).unwrap();
        assert!(door.keep().is_err());
        std::fs::create_dir(directory.path().join("run")).unwrap();
        door.keep().unwrap();
        let (client, _) = tokio::join!(UnixStream::connect(&path), door.accept());
        assert!(client.is_ok());
        door.close();
        assert!(!path.exists());
    }
}
