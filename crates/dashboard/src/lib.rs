//! The page that people look at: files that `make ui` has built, in the binary. Without them, as where
//! there is no Node, there is no page.

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../ui/dist"]
#[allow_missing = true]
struct Built;

/// What stands where each answer has a number of its own, so that the page may have styles.
const NONCE: &str = "%NONCE%";
/// What names of files that never change begin with: each has a part of its content in its name.
const ASSETS: &str = "assets/";

/// A file of the page.
pub struct File {
    /// Its content, encoded.
    pub bytes: Cow<'static, [u8]>,
    /// What it is.
    pub media_type: &'static str,
    /// How it is encoded, if it is.
    pub encoding: Option<&'static str>,
}

/// The file at a path such as `/assets/index-4f1c.js`, as it is smallest for who accepts these
/// encodings, which is what `Accept-Encoding` says.
pub fn file(path: &str, accepted: &str) -> Option<File> {
    let name = path.strip_prefix('/').filter(|name| name.starts_with(ASSETS))?;
    let media_type = media_type(name)?;
    let encoded = [("br", "br"), ("gzip", "gz")].into_iter().find_map(|(encoding, ending)| {
        let file = Built::get(&format!("{name}.{ending}")).filter(|_| accepts(accepted, encoding));
        file.map(|file| File { bytes: file.data, media_type, encoding: Some(encoding) })
    });
    let plain =
        || Built::get(name).map(|file| File { bytes: file.data, media_type, encoding: None });
    encoded.or_else(plain)
}

/// The page itself; `None` if it was not built.
pub fn page(nonce: &str) -> Option<String> {
    let html = Built::get("index.html")?.data;
    Some(String::from_utf8_lossy(&html).replace(NONCE, nonce))
}

fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let is_refused = |weight: &str| {
            let value = weight.strip_prefix("q=").and_then(|value| value.parse::<f32>().ok());
            value == Some(0.0)
        };
        is_it && !parts.any(is_refused)
    })
}

fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "map" | "json" => "application/json",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_accepted_unless_its_weight_is_zero() {
        for (accepted, is) in [
            ("gzip, deflate, br, zstd", true),
            ("BR;q=0.5", true),
            ("br;q=0, gzip", false),
            ("br; q=0.0", false),
            ("brotli", false),
            ("", false),
        ] {
            assert_eq!(accepts(accepted, "br"), is, "{accepted}");
        }
    }

    #[test]
    fn only_files_of_the_page_are_given() {
        for path in ["/assets/../index.html", "/index.html", "/assets/", "/assets/x.exe", "assets"]
        {
            assert!(file(path, "br").is_none(), "{path}");
        }
    }
}
