//! HTML that cannot be injected into: literals are markup, values are text.

use std::fmt::{self, Write};

/// A piece of HTML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds markup. It is `'static`, so it is written in the source and comes from nobody else.
    pub fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Adds text, also as the value of a quoted attribute.
    pub fn text(&mut self, text: impl fmt::Display) {
        write!(Escape(&mut self.0), "{text}")
            .expect("writing to a String cannot fail, nor does what is displayed here");
    }

    /// Adds another piece.
    pub fn piece(&mut self, piece: &Html) {
        self.0.push_str(&piece.0);
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The characters.
    pub fn into_string(self) -> String {
        self.0
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Forbidden in HTML, and the customer's to send.
                '\0' => self.0.push('\u{FFFD}'),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// Adds to a piece of [`Html`]: a literal is markup, `(value)` is escaped text, `[piece]` is another piece.
macro_rules! put {
    ($html:expr $(,)?) => {};
    ($html:expr, $markup:literal $($rest:tt)*) => {
        $html.markup($markup);
        put!($html, $($rest)*);
    };
    ($html:expr, ($value:expr) $($rest:tt)*) => {
        $html.text(&$value);
        put!($html, $($rest)*);
    };
    ($html:expr, [$piece:expr] $($rest:tt)*) => {
        $html.piece(&$piece);
        put!($html, $($rest)*);
    };
}
pub(super) use put;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_become_markup() {
        let mut html = Html::new();
        let name = r#"<img src=x onerror="alert('1')"> & co"#;
        put!(html, "<b title=\"" (name) "\">" (name) "</b>");
        let escaped = "&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt; &amp; co";
        assert_eq!(html.as_str(), format!("<b title=\"{escaped}\">{escaped}</b>"));
    }

    #[test]
    fn pieces_keep_their_markup() {
        let (mut inner, mut outer) = (Html::new(), Html::new());
        put!(inner, "<i>" (1 + 1) "</i>");
        put!(outer, "<p>" [inner] "</p>");
        assert_eq!(outer.as_str(), "<p><i>2</i></p>");
    }
}
