//! What a project may be called: [`ProjectName`].

use crate::error::CliError;
use std::path::Path;

/// Words that name something else to Rust or cargo.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tidings",
    "tokio",
    "tracing",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// The name of a project, fit to be that of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProjectName(String);

impl ProjectName {
    /// The last part of a path.
    pub(super) fn of(path: &Path) -> Result<Self, CliError> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let wrong = |problem: &str| {
            Err(CliError::usage(
                format!("{name:?} cannot be the name of a project: {problem}"),
                "take small letters, digits and -, a letter first, for example shop",
            ))
        };
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return wrong("it does not begin with a small letter");
        }
        let plain =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
        if !name.chars().all(plain) || name.len() > 64 {
            return wrong("it has letters that a package cannot have, or too many");
        }
        if TAKEN.contains(&name.replace('-', "_").as_str()) {
            return wrong("the word has another meaning");
        }
        Ok(Self(name.to_owned()))
    }

    /// As the package is called.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As code calls it.
    pub(super) fn module(&self) -> String {
        self.0.replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_package_can_have() {
        for (path, module) in [
            ("shop", "shop"),
            ("a/b/my-shop", "my_shop"),
            ("./shop2", "shop2"),
            ("s_1", "s_1"),
        ] {
            assert_eq!(
                ProjectName::of(Path::new(path)).unwrap().module(),
                module,
                "{path}"
            );
        }
        for path in [
            "",
            "..",
            "Shop",
            "2shop",
            "-x",
            "my shop",
            "größe",
            "test",
            "tidings",
            "proc-macro",
            "a/",
        ] {
            let found = ProjectName::of(Path::new(path));
            assert!(found.is_err() || path == "a/", "{path}");
        }
    }
}
