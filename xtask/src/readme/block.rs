//! The README's shell blocks and the marks that say how each is checked.
//!
//! Every shell block carries a mark on the line before it, invisible to readers of the rendered page:
//!
//! - `<!-- check: shop -->`: a session with the shop; it is run as written, on a free port and a scratch directory.
//! - `<!-- check: commands -->`: the commands exist but take too long to run here, or the CI runs them anyway.
//! - `<!-- check: skip, <reason> -->`: not checked, and reported as skipped.

/// How a block is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Shop,
    Commands,
    Skip { reason: String },
}

/// A marked block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of the README where the block's text starts, counted from one.
    pub(crate) line: usize,
    pub(crate) check: Check,
    pub(crate) text: String,
}

/// What the README holds, and what is wrong with its marks.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) shell: Vec<Block>,
    /// The number of blocks of Rust, which are compiled as documentation tests of the facade.
    pub(crate) rust: usize,
    pub(crate) problems: Vec<String>,
}

/// Finds the fenced blocks of a Markdown text.
pub(crate) fn blocks(markdown: &str) -> Blocks {
    let mut found = Blocks::default();
    let mut before = "";
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line.trim();
            }
            continue;
        };
        let mut text = String::new();
        for (_, inner) in lines
            .by_ref()
            .take_while(|(_, inner)| !inner.trim_start().starts_with("```"))
        {
            text.push_str(inner);
            text.push('\n');
        }
        found.add(index + 2, language.trim(), before, text);
        before = "";
    }
    found
}

impl Blocks {
    fn add(&mut self, line: usize, language: &str, mark: &str, text: String) {
        match language.split(',').next().unwrap_or_default() {
            "rust" => self.rust += 1,
            "sh" | "bash" | "shell" | "console" => match parse_mark(mark) {
                Some(check) => self.shell.push(Block { line, check, text }),
                None => self.problems.push(format!(
                    "README.md:{line}: this block says not how it is checked; put `<!-- check: shop -->`, \
                     `<!-- check: commands -->` or `<!-- check: skip, <reason> -->` before it"
                )),
            },
            _ => {}
        }
    }
}

fn parse_mark(line: &str) -> Option<Check> {
    let mark = line.strip_prefix("<!-- check:")?.strip_suffix("-->")?.trim();
    match mark.split_once(',') {
        None if mark == "shop" => Some(Check::Shop),
        None if mark == "commands" => Some(Check::Commands),
        Some(("skip", reason)) if !reason.trim().is_empty() => Some(Check::Skip {
            reason: reason.trim().to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_found_with_their_line_and_text() {
        let found = blocks(
            "# T\n\n<!-- check: shop -->\n```sh\na\nb\n```\n\n<!-- check: skip, needs a cluster -->\n\n```sh\nc\n```\n\
             ```rust,no_run\nfn main() {}\n```\n```toml\nx = 1\n```\n",
        );
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.rust, 1);
        assert_eq!(found.shell.len(), 2);
        assert_eq!(
            found.shell[0],
            Block {
                line: 5,
                check: Check::Shop,
                text: "a\nb\n".into()
            }
        );
        assert_eq!(
            found.shell[1].check,
            Check::Skip {
                reason: "needs a cluster".into()
            }
        );
    }

    #[test]
    fn a_shell_block_without_a_good_mark_is_a_problem() {
        for mark in [
            "",
            "see:",
            "<!-- check: shopp -->",
            "<!-- check: skip -->",
            "<!-- check: skip, -->",
        ] {
            let found = blocks(&format!("{mark}\n```sh\na\n```\n"));
            assert_eq!(found.problems.len(), 1, "{mark}");
            assert!(
                found.problems[0].starts_with("README.md:3: "),
                "{}",
                found.problems[0]
            );
        }
    }

    #[test]
    fn a_mark_counts_for_the_next_block_only() {
        let found = blocks("<!-- check: shop -->\n```sh\na\n```\n```sh\nb\n```\n");
        assert_eq!((found.shell.len(), found.problems.len()), (1, 1));
    }
}
