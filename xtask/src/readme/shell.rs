//! The small part of the shell that the README's blocks use: words, quotes, comments, continued lines.

/// One command of a block: its words and the line of the block where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) words: Vec<String>,
}

/// Splits a block into commands. Whatever would need a real shell (pipes, variables, `;`) is refused, so that what is
/// checked is what a reader would run.
pub(crate) fn commands(block: &str) -> Result<Vec<Line>, String> {
    let mut splitter = Splitter::default();
    let mut characters = block.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => splitter.quoted(&mut characters, '\'')?,
            '"' => splitter.quoted(&mut characters, '"')?,
            '\\' => splitter.escaped(characters.next()),
            '\n' => splitter.end_line(),
            '#' if splitter.word.is_none() => while characters.next_if(|next| *next != '\n').is_some() {},
            '|' | ';' | '&' | '<' | '>' | '$' | '`' => {
                let line = splitter.line + 1;
                return Err(format!(
                    "line {line} of the block: `{character}` needs a shell; write plain commands"
                ));
            }
            space if space.is_whitespace() => splitter.end_word(),
            other => splitter.push(other),
        }
    }
    splitter.end_line();
    Ok(splitter.commands)
}

#[derive(Debug, Default)]
struct Splitter {
    commands: Vec<Line>,
    words: Vec<String>,
    word: Option<String>,
    /// Lines read so far.
    line: usize,
    /// Where the command that is being read starts.
    start: usize,
}

impl Splitter {
    fn push(&mut self, character: char) {
        if self.words.is_empty() && self.word.is_none() {
            self.start = self.line;
        }
        self.word.get_or_insert_default().push(character);
    }

    fn quoted(&mut self, characters: &mut impl Iterator<Item = char>, quote: char) -> Result<(), String> {
        if self.words.is_empty() && self.word.is_none() {
            self.start = self.line;
        }
        let opened = self.line + 1;
        let word = self.word.get_or_insert_default();
        while let Some(character) = characters.next() {
            match character {
                end if end == quote => return Ok(()),
                '\\' if quote == '"' => word.extend(characters.next()),
                '$' | '`' if quote == '"' => {
                    return Err(format!(
                        "line {opened} of the block: variables need a shell; write plain commands"
                    ));
                }
                other => {
                    self.line += usize::from(other == '\n');
                    word.push(other);
                }
            }
        }
        Err(format!(
            "line {opened} of the block: the quote {quote} is never closed"
        ))
    }

    fn escaped(&mut self, character: Option<char>) {
        match character {
            // A continued line: the command goes on.
            Some('\n') => {
                self.end_word();
                self.line += 1;
            }
            Some(other) => self.push(other),
            None => {}
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_line(&mut self) {
        self.end_word();
        self.line += 1;
        if !self.words.is_empty() {
            self.commands.push(Line {
                number: self.start,
                words: std::mem::take(&mut self.words),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_comments_and_continued_lines_are_read_as_a_shell_would() {
        let block = "cargo run -p shop   # starts it\n\n# a comment\ncurl -d '{\"a\": \"b c\"}' \\\n  \"x y\"\\ z a#b\n";
        let commands = commands(block).unwrap();
        let words: Vec<Vec<&str>> = commands
            .iter()
            .map(|line| line.words.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(
            words,
            [
                vec!["cargo", "run", "-p", "shop"],
                vec!["curl", "-d", "{\"a\": \"b c\"}", "x y z", "a#b"]
            ]
        );
        assert_eq!(
            commands.iter().map(|line| line.number).collect::<Vec<_>>(),
            [0, 3]
        );
    }

    #[test]
    fn what_needs_a_real_shell_is_refused_with_its_line() {
        for (block, place) in [
            ("a\nb | c", "line 2"),
            ("a && b", "line 1"),
            ("echo $HOME", "line 1"),
            ("echo \"$HOME\"", "line 1"),
            ("a\n\necho 'open", "line 3"),
        ] {
            let error = commands(block).unwrap_err();
            assert!(error.starts_with(place), "{block}: {error}");
        }
    }
}
