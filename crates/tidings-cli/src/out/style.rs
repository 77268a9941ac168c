//! Styles on a terminal that has them: [`Colour`].

use anstyle::{AnsiColor, Effects};
use std::ffi::OsString;
use std::io::IsTerminal;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The heads of columns, keys.
    Strong,
    /// What is there for those who look for it: times, positions.
    Quiet,
    /// The word `error`.
    Error,
}

/// Whether text has styles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// It has.
    On,
    /// It has not: for files, pipes, `NO_COLOR` and simple terminals.
    Off,
}

impl Colour {
    /// What fits that stream, by the usual variables.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        Self::chosen(stream.is_terminal(), |name| std::env::var_os(name))
    }

    fn chosen(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let simple = variable("TERM").is_none_or(|term| term == "dumb");
        if terminal && !set("NO_COLOR") && !simple {
            Self::On
        } else {
            Self::Off
        }
    }

    /// The text in that style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        let ansi = anstyle::Style::new();
        let ansi = match style {
            _ if self == Self::Off => return text.to_owned(),
            Style::Strong => ansi.effects(Effects::BOLD),
            Style::Quiet => ansi.effects(Effects::DIMMED),
            Style::Error => ansi.fg_color(Some(AnsiColor::Red.into())).effects(Effects::BOLD),
        };
        format!("{ansi}{text}{ansi:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_has_them_and_nobody_who_refuses() {
        let with = |variables: &'static [(&'static str, &'static str)]| {
            move |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            }
        };
        for (terminal, variables, expected) in [
            (true, [("TERM", "xterm")].as_slice(), Colour::On),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "")], Colour::On),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "1")], Colour::Off),
            (true, &[("TERM", "dumb")], Colour::Off),
            (true, &[], Colour::Off),
            (false, &[("TERM", "xterm")], Colour::Off),
        ] {
            assert_eq!(
                Colour::chosen(terminal, with(variables)),
                expected,
                "{variables:?}"
            );
        }
        assert_eq!(Colour::Off.paint(Style::Error, "x"), "x");
        assert_eq!(Colour::On.paint(Style::Strong, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
