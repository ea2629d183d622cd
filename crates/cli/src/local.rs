//! How the owner of a data directory reaches its server: over a Unix socket in that directory, with
//! a cookie that only the owner can read. Both sides of it.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use domain::{Code, DataDirectory, Digest, Problem};
use nix::libc;

/// The header that a request over the socket shows the cookie in.
pub const COOKIE: &str = "decalog-cookie";
/// Of a cookie, in bytes; it is written in hexadecimal digits.
const COOKIE_BYTES: usize = 32;
/// The longest path of a Unix socket that all systems take, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// What the owner shows. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(String);

/// Where the door of a data directory is: in it, or, where that takes no files, in a directory of
/// its owner's that follows from its path.
#[derive(Clone)]
struct Place {
    socket: PathBuf,
    cookie: PathBuf,
    /// In which both lie.
    directory: PathBuf,
}

impl Place {
    fn inside(data: &DataDirectory) -> Place {
        Place {
            socket: data.local_socket(),
            cookie: data.local_cookie(),
            directory: data.root().into(),
        }
    }

    /// Of the user who owns the data directory.
    fn beside(data: &DataDirectory) -> io::Result<Place> {
        let owner = fs::metadata(data.root())?.uid();
        let path = Digest::of(data.root().as_os_str().as_encoded_bytes()).to_string();
        let directory = std::env::temp_dir().join(format!("decalog-{owner}-{}", &path[..16]));
        let (socket, cookie) = (directory.join("local.sock"), directory.join("local.cookie"));
        Ok(Place { socket, cookie, directory })
    }

    /// Makes the directory beside, for this user alone. Whoever was first to make one of that name
    /// does not get anything into his hands.
    fn make(&self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        let found = fs::symlink_metadata(&self.directory)?;
        let is_own = found.uid() == nix::unistd::Uid::effective().as_raw();
        match found.is_dir() && is_own && found.mode() & 0o077 == 0 {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another's")),
        }
    }
}

impl Cookie {
    fn make(path: &Path) -> io::Result<Cookie> {
        let mut bytes = [0; COOKIE_BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let cookie = Cookie(Digest(bytes).to_string());
        write_private(path, &cookie.0)?;
        Ok(cookie)
    }

    fn read(path: &Path) -> io::Result<Cookie> {
        let text = fs::read_to_string(path)?;
        let digits = text.trim().parse::<Digest>().map_err(io::Error::other)?;
        Ok(Cookie(digits.to_string()))
    }

    /// As the header has it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// By which the server knows it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// By which a client that can read the cookie knows the server, and which tells nobody the
    /// cookie.
    pub fn instance(&self) -> Digest {
        Digest::of(format!("decalog instance {}", self.0).as_bytes())
    }
}

// ---- The server ---------------------------------------------------------------------------------

/// The socket and the cookie of a server.
pub struct Door {
    /// Where its owner comes in.
    pub socket: UnixListener,
    /// What he must show.
    pub cookie: Cookie,
}

impl Door {
    /// Opens the door of a data directory that this process has taken. Whatever lies there is an
    /// earlier process's.
    pub fn open(data: &DataDirectory) -> Result<Door, Problem> {
        let inside = Door::at(&Place::inside(data));
        if let (Ok(_), Ok(beside)) = (&inside, Place::beside(data)) {
            // Of a time when the data directory took no files.
            let _ = fs::remove_dir_all(beside.directory);
        }
        inside
            .or_else(|_| {
                let beside = Place::beside(data)?;
                beside.make()?;
                Door::at(&beside)
            })
            .map_err(|error| unusable(data, error))
    }

    fn at(place: &Place) -> io::Result<Door> {
        let cookie = Cookie::make(&place.cookie)?;
        Ok(Door { socket: bind(&place.socket)?, cookie })
    }

    /// The door of the process that this one takes over from: for a moment both answer there, so
    /// that its cookie stays. What somebody has removed is made anew.
    pub fn keep(data: &DataDirectory, socket: UnixListener) -> Result<Door, Problem> {
        let beside = Place::beside(data).map_err(|error| unusable(data, error))?;
        let cookie = Cookie::read(&data.local_cookie())
            .or_else(|_| Cookie::read(&beside.cookie))
            .or_else(|_| Cookie::make(&data.local_cookie()))
            .map_err(|error| unusable(data, error))?;
        let is_there = fs::symlink_metadata(data.local_socket())
            .is_ok_and(|metadata| metadata.file_type().is_socket());
        let socket = if is_there { Ok(socket) } else { bind(&data.local_socket()) };
        Ok(Door { socket: socket.map_err(|error| unusable(data, error))?, cookie })
    }
}

fn unusable(data: &DataDirectory, error: io::Error) -> Problem {
    let text =
        format!("the owner's socket {} cannot be made: {error}", data.local_socket().display());
    Problem::new(Code::DataDirectory, text)
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let _ = fs::remove_file(path);
    let listener = at_short_path(path, |path| UnixListener::bind(path))?;
    // The directory is closed to others already.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

/// Binds or connects a socket whose path may be longer than sockets take: by its directory, which
/// has a short name among this process's descriptors.
fn at_short_path<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return with(path);
    }
    let directory = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(directory)?;
    with(&Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

// ---- The client ---------------------------------------------------------------------------------

/// A data directory that belongs to who runs this command, with a server in it.
#[derive(Clone)]
pub struct Owned {
    data: DataDirectory,
    place: Place,
}

impl Owned {
    /// If the server that says it is `instance` is the one of `data`, and this user its owner.
    pub fn find(data: DataDirectory, instance: &Digest) -> Option<Owned> {
        let places = [Some(Place::inside(&data)), Place::beside(&data).ok()];
        places.into_iter().flatten().find_map(|place| {
            let owned = Owned { data: data.clone(), place };
            let cookie = owned.cookie().ok()?;
            (cookie.instance() == *instance).then_some(owned)
        })
    }

    /// The directory.
    pub fn data(&self) -> &DataDirectory {
        &self.data
    }

    /// The cookie as it is now: a server that starts anew has another.
    pub fn cookie(&self) -> io::Result<Cookie> {
        self.check(&self.place.cookie, fs::FileType::is_file)?;
        Cookie::read(&self.place.cookie)
    }

    /// A connection to the server.
    pub fn connect(&self) -> io::Result<UnixStream> {
        self.check(&self.place.socket, FileTypeExt::is_socket)?;
        at_short_path(&self.place.socket, |path| UnixStream::connect(path))
    }

    /// The cookie goes to nobody but the owner of the directory, who has it already: whose
    /// directory it is, and whether what lies in it is his or root's.
    fn check(&self, path: &Path, is_kind: impl FnOnce(&fs::FileType) -> bool) -> io::Result<()> {
        let own = nix::unistd::Uid::effective();
        let owner = fs::metadata(self.data.root())?.uid();
        if fs::symlink_metadata(&self.place.directory)?.uid() != owner {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user",
            ));
        }
        let found = fs::symlink_metadata(path)?;
        let is_own = own.is_root() || owner == own.as_raw();
        let is_owners = found.uid() == owner || found.uid() == 0;
        if is_own && is_owners && is_kind(&found.file_type()) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> (tempfile::TempDir, DataDirectory) {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join(name);
        fs::create_dir(&root).unwrap();
        (temporary, DataDirectory::new(root))
    }

    #[test]
    fn the_owner_gets_in_by_paths_of_any_length() {
        for name in ["data".to_string(), "long".repeat(50)] {
            let (_temporary, data) = directory(&name);
            let door = Door::open(&data).unwrap();
            for path in [data.local_socket(), data.local_cookie()] {
                assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, 0o600, "{path:?}");
            }
            let owned = Owned::find(data.clone(), &door.cookie.instance()).unwrap();
            owned.connect().unwrap();
            assert!(owned.cookie().unwrap() == door.cookie);
            assert_eq!(door.cookie.text().len(), 2 * COOKIE_BYTES);
            let again = Door::keep(&data, door.socket).unwrap();
            assert!(again.cookie == door.cookie);
            fs::remove_file(data.local_socket()).unwrap();
            assert!(owned.connect().is_err());
            let _again = Door::keep(&data, again.socket).unwrap();
            owned.connect().unwrap();
            let next = Door::open(&data).unwrap();
            assert!(next.cookie != door.cookie, "new at each start");
            owned.connect().unwrap();
        }
    }

    #[test]
    fn another_server_with_a_directory_of_that_name_is_told_apart() {
        let (_temporary, data) = directory("data");
        let door = Door::open(&data).unwrap();
        assert!(Owned::find(data.clone(), &Digest::of(b"elsewhere")).is_none());
        assert_ne!(door.cookie.instance(), door.cookie.digest());
        fs::remove_file(data.local_cookie()).unwrap();
        assert!(Owned::find(data.clone(), &door.cookie.instance()).is_none());
        assert!(Owned::find(DataDirectory::new("/nowhere"), &door.cookie.instance()).is_none());
    }

    #[test]
    fn what_is_no_socket_is_not_connected_to() {
        let (_temporary, data) = directory("data");
        let door = Door::open(&data).unwrap();
        let owned = Owned::find(data.clone(), &door.cookie.instance()).unwrap();
        let elsewhere = data.root().join("elsewhere");
        fs::rename(data.local_socket(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.local_socket()).unwrap();
        assert_eq!(owned.connect().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
