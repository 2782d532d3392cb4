//! Text to entries: lines joined by parentheses, cut into tokens, comments gone.
//!
//! Tokens keep their escapes, because `\.` means something else in a name than in a string.

use super::problem::Problem;

/// One field of an entry, escapes kept and quotes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// Whether it began with a quote: then it is no name, number or keyword.
    pub(super) quoted: bool,
    /// Whether a comment begins right behind it, without a blank between.
    pub(super) runs_into_comment: bool,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Line {
    /// Whether it began with white space, so that the owner is that of the line before.
    pub(super) indented: bool,
    pub(super) tokens: Vec<Token>,
}

/// What a semicolon is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Semicolon {
    /// The beginning of a comment, as in files.
    Comment,
    /// A character like others, as in arguments.
    Data,
}

/// Cuts a text into logical lines; empty ones are left out.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, Problem> {
    lines_with(text, Semicolon::Comment)
}

/// The same for an argument of a command line: nothing in it is a comment.
pub(super) fn argument(text: &str) -> Result<Vec<Line>, Problem> {
    lines_with(text, Semicolon::Data)
}

fn lines_with(text: &str, semicolon: Semicolon) -> Result<Vec<Line>, Problem> {
    let mut lexer = Lexer { chars: text.chars().peekable(), line: 1, column: 1, semicolon };
    let mut found = Vec::new();
    while lexer.chars.peek().is_some() {
        let line = lexer.logical_line()?;
        if !line.tokens.is_empty() {
            found.push(line);
        }
    }
    Ok(found)
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    column: u32,
    semicolon: Semicolon,
}

impl Lexer<'_> {
    fn begins_comment(&self, c: char) -> bool {
        c == ';' && self.semicolon == Semicolon::Comment
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        match c {
            '\n' => (self.line, self.column) = (self.line + 1, 1),
            _ => self.column += 1,
        }
        Some(c)
    }

    fn problem(&self, line: u32, column: u32, what: &str, fix: &str) -> Problem {
        Problem { line, column, what: what.into(), fix: fix.into() }
    }

    fn logical_line(&mut self) -> Result<Line, Problem> {
        let mut line =
            Line { indented: self.chars.peek().is_some_and(|c| matches!(c, ' ' | '\t')), tokens: Vec::new() };
        let mut open: Option<(u32, u32)> = None;
        while let Some(c) = self.chars.peek().copied() {
            let (at_line, at_column) = (self.line, self.column);
            match c {
                '\n' => {
                    self.next();
                    if open.is_none() {
                        return Ok(line);
                    }
                }
                c if self.begins_comment(c) => {
                    while self.chars.peek().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                }
                '(' => {
                    self.next();
                    if open.replace((at_line, at_column)).is_some() {
                        return Err(self.problem(at_line, at_column, "'(' inside '('", "remove it"));
                    }
                }
                ')' => {
                    self.next();
                    if open.take().is_none() {
                        return Err(self.problem(at_line, at_column, "')' without '('", "remove it"));
                    }
                }
                c if c.is_whitespace() => {
                    self.next();
                }
                _ => line.tokens.push(self.token()?),
            }
        }
        match open {
            Some((at_line, at_column)) => {
                Err(self.problem(at_line, at_column, "'(' is never closed", "add ')' where the record ends"))
            }
            None => Ok(line),
        }
    }

    fn token(&mut self) -> Result<Token, Problem> {
        let (line, column) = (self.line, self.column);
        let quoted = self.chars.peek() == Some(&'"');
        let mut token = Token { text: String::new(), quoted, runs_into_comment: false, line, column };
        while let Some(c) = self.chars.peek().copied() {
            match c {
                '"' => self.quoted_part(&mut token.text)?,
                '\\' => {
                    token.text.extend(self.next());
                    token.text.extend(self.chars.peek().is_some_and(|c| *c != '\n').then(|| self.next()).flatten());
                }
                c if self.begins_comment(c) => {
                    token.runs_into_comment = true;
                    break;
                }
                '(' | ')' => break,
                c if c.is_whitespace() => break,
                _ => token.text.extend(self.next()),
            }
            if token.quoted {
                break;
            }
        }
        Ok(token)
    }

    fn quoted_part(&mut self, text: &mut String) -> Result<(), Problem> {
        let (line, column) = (self.line, self.column);
        self.next();
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => {
                    text.push('\\');
                    text.extend(self.next());
                }
                Some('\n') | None => {
                    return Err(self.problem(
                        line,
                        column,
                        "the quote is never closed",
                        "add '\"' at the end of the text",
                    ));
                }
                Some(c) => text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let lines = lines(text).expect("valid");
        lines.into_iter().map(|line| line.tokens.into_iter().map(|token| token.text).collect()).collect()
    }

    #[test]
    fn lines_and_tokens() {
        assert_eq!(texts("a b ; c\n\n;d\n e"), [vec!["a", "b"], vec!["e"]]);
        assert_eq!(texts("a ( b\n c ; x\n ) d"), [vec!["a", "b", "c", "d"]]);
        assert_eq!(texts("\"a ; b\"\"c\""), [vec!["a ; b", "c"]]);
        assert_eq!(texts(r#"alpn="h2,h3" x\;y "q\"r""#), [vec!["alpn=h2,h3", r"x\;y", r#"q\"r"#]]);
        assert_eq!(texts("a\r\nb\r\n"), [vec!["a"], vec!["b"]]);
    }

    #[test]
    fn nothing_in_an_argument_is_a_comment() {
        let tokens = argument("a;b ; c").expect("valid").remove(0).tokens;
        assert_eq!(tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>(), ["a;b", ";", "c"]);
        assert!(tokens.iter().all(|token| !token.runs_into_comment));
        let tokens = lines("a b;c").expect("valid").remove(0).tokens;
        assert_eq!(tokens.iter().map(|token| token.runs_into_comment).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn places() {
        let lines = lines("a\n b (\n c)").expect("valid");
        assert!(!lines[0].indented && lines[1].indented);
        assert_eq!((lines[1].tokens[1].line, lines[1].tokens[1].column), (3, 2));
    }

    #[test]
    fn what_is_not_closed_is_shown_where_it_opens() {
        for (text, line, column) in [("a (b\nc", 1, 3), ("x\n a \"b\nc", 2, 4), ("a ) b", 1, 3), ("((", 1, 2)] {
            let problem = lines(text).expect_err("broken");
            assert_eq!((problem.line, problem.column), (line, column), "{text:?}");
        }
    }
}
