//! The few pages that a login needs: plain HTML without scripts, under a policy that lets nothing
//! else in.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Digest, Problem};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::describe::{Operation, Output};

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 15vh auto 0; padding: 0 1rem; }
h1 { font-size: 1.25rem; }
code { font: 1.25rem ui-monospace, monospace; letter-spacing: .1em; }
a.button, button { display: inline-block; font: inherit; padding: .5rem 1rem; margin: .5rem .5rem 0 0;
  border: 1px solid currentColor; border-radius: .4rem; background: none; color: inherit;
  text-decoration: none; cursor: pointer; }
button.main, a.main { background: #1d4ed8; border-color: #1d4ed8; color: #fff; }
p.help { opacity: .75; }
";

/// What a page of this server may load and where it may be shown: itself alone.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        STANDARD.encode(Digest::of(STYLE.as_bytes()).0)
    )
});

/// A page, and what else the browser is told with it.
pub struct Page {
    status: StatusCode,
    title: String,
    body: String,
    headers: HeaderMap,
    next: Option<String>,
}

/// As text in HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What begins with a small letter on a terminal.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    if text.starts_with("http") {
        return text.into();
    }
    let first = chars.next().map(char::to_uppercase);
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    first.map_or_else(String::new, |first| format!("{}{}{end}", first, chars.as_str()))
}

impl Page {
    /// A page of one paragraph to begin with.
    pub fn new(title: &str, text: &str) -> Page {
        Page {
            status: StatusCode::OK,
            title: title.into(),
            body: format!("<p>{}</p>\n", escaped(text)),
            headers: HeaderMap::new(),
            next: None,
        }
    }

    /// Says what is wrong, and what to do.
    pub fn problem(problem: &Problem) -> Page {
        let mut page = Page::new("That did not work", &sentence(&problem.message));
        page.status =
            StatusCode::from_u16(problem.code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if problem.help.is_empty() {
            return page;
        }
        page.text("help", &sentence(&problem.help))
    }

    /// One more paragraph.
    pub fn text(mut self, class: &str, text: &str) -> Page {
        let _ = writeln!(self.body, "<p class=\"{class}\">{}</p>", escaped(text));
        self
    }

    /// A code to compare.
    pub fn code(mut self, code: &str) -> Page {
        let _ = writeln!(self.body, "<p><code>{}</code></p>", escaped(code));
        self
    }

    /// A link that looks like what is to be done.
    pub fn link(mut self, text: &str, to: &str) -> Page {
        let _ = writeln!(
            self.body,
            "<a class=\"button main\" href=\"{}\">{}</a>",
            escaped(to),
            escaped(text)
        );
        self
    }

    /// A form with hidden fields and a button for each answer.
    pub fn form(mut self, to: &str, hidden: &[(&str, &str)], buttons: &[(&str, &str)]) -> Page {
        let _ = writeln!(self.body, "<form method=\"post\" action=\"{}\">", escaped(to));
        for (name, value) in hidden {
            let _ = writeln!(
                self.body,
                "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
                escaped(name),
                escaped(value)
            );
        }
        for (at, (answer, text)) in buttons.iter().enumerate() {
            let class = if at == 0 { "main" } else { "" };
            let _ = writeln!(
                self.body,
                "<button class=\"{class}\" name=\"answer\" value=\"{}\">{}</button>",
                escaped(answer),
                escaped(text)
            );
        }
        self.body.push_str("</form>\n");
        self
    }

    /// Sets a cookie.
    pub fn cookie(mut self, cookie: &str) -> Page {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            self.headers.append(header::SET_COOKIE, value);
        }
        self
    }

    /// Goes on by itself to another page of this server: the cookies that come with this page are
    /// sent there.
    pub fn next(mut self, to: &str) -> Page {
        self.next = Some(to.into());
        self.link("Go on", to)
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let refresh = self.next.map_or_else(String::new, |to| {
            format!("<meta http-equiv=\"refresh\" content=\"0;url={}\">", escaped(&to))
        });
        let title = escaped(&self.title);
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">{refresh}\
             <title>{title} · Decalog</title><style>{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n{}</body></html>\n",
            self.body
        );
        let mut headers = self.headers;
        let text = |value: &str| HeaderValue::from_str(value).ok();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(text(&POLICY).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
        (self.status, headers, html).into_response()
    }
}

impl Output for Page {
    fn describe(operation: &mut Operation) {
        operation.answers("text/html", "A page for a browser");
    }
}

/// Sends a browser elsewhere, with a cookie to come back by.
pub struct Going {
    /// Where.
    pub to: String,
    /// The cookie.
    pub cookie: String,
}

impl IntoResponse for Going {
    fn into_response(self) -> Response {
        let headers = [
            (header::LOCATION, self.to),
            (header::SET_COOKIE, self.cookie),
            (header::CACHE_CONTROL, "no-store".into()),
        ];
        (StatusCode::FOUND, headers).into_response()
    }
}

impl Output for Going {
    fn describe(operation: &mut Operation) {
        operation.answers("text/plain", "Nothing: the browser goes to the identity provider");
    }
}
