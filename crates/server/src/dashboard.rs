//! The page that people look at, under a policy that lets nothing in but what is this server's own.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::describe::{Operation, Output};
use crate::extract::Who;
use crate::login::{self, Page};
use crate::{Api, ApiError, error};

/// Random bytes of the number by which a page's styles are known as its own.
const NONCE_BYTES: usize = 16;

/// The dashboard, or where it was not built, who one is here.
pub enum Home {
    Dashboard(Response),
    Account(Page),
}

impl IntoResponse for Home {
    fn into_response(self) -> Response {
        match self {
            Home::Dashboard(response) => response,
            Home::Account(page) => page.into_response(),
        }
    }
}

impl Output for Home {
    fn describe(operation: &mut Operation) {
        operation.answers("text/html", "A page for a browser");
    }
}

pub async fn home(state: State<Api>, who: Who) -> Result<Home, ApiError> {
    match page()? {
        Some(page) => Ok(Home::Dashboard(page)),
        None => {
            let text = "The dashboard is not in this build: make ui builds it, with Node.";
            Ok(Home::Account(login::home(state, who).await.text("help", text)))
        }
    }
}

/// Files of the dashboard, and its pages by their addresses; there is nothing else.
pub async fn other(method: Method, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    if method != Method::GET && method != Method::HEAD {
        return Err(error::no_such_path(uri).await);
    }
    if let Some(file) = dashboard::file(uri.path(), said(header::ACCEPT_ENCODING)) {
        let mut response = file.bytes.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
        // A file whose content changes has another name.
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, for_ever);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = file.encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        return Ok(response);
    }
    // A program that got an address wrong is told so, and is not given a page.
    let is_of_api = ["/v1/", "/v2/"].iter().any(|api| uri.path().starts_with(api));
    let is_person = !is_of_api && said(header::ACCEPT).contains("text/html");
    if is_person && let Some(page) = page()? {
        return Ok(page);
    }
    Err(error::no_such_path(uri).await)
}

/// The page; `None` if it was not built.
fn page() -> Result<Option<Response>, ApiError> {
    let nonce = URL_SAFE_NO_PAD.encode(control::random::<NONCE_BYTES>()?);
    let Some(html) = dashboard::page(&nonce) else { return Ok(None) };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // The number in it is good for this answer alone.
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    Ok(Some((StatusCode::OK, headers, html).into_response()))
}
