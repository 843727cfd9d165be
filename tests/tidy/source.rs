//! A Rust file as the rules see it: code without comments and strings, and the strings by themselves.

use std::fs;
use std::path::Path;

/// One file below `src/` or `tests/`.
pub struct Source {
    pub folder: String,
    /// Relative to the folder, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and the insides of strings blanked, byte for byte in place.
    pub code: String,
    /// String literals with the line they start on.
    pub strings: Vec<(usize, String)>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut lexer =
            Lexer { text: text.as_bytes(), at: 0, code: text.as_bytes().to_vec(), strings: Vec::new() };
        lexer.run();
        let code = String::from_utf8(lexer.code).expect("whole characters are blanked");
        Self {
            folder: "src".to_owned(),
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            strings: lexer.strings,
        }
    }

    /// All Rust files below a folder, sorted by path.
    pub fn all(root: &Path) -> Vec<Self> {
        let mut found = Vec::new();
        collect(root, root, &mut found);
        let folder = root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for source in &mut found {
            source.folder.clone_from(&folder);
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Names of the modules above the code in this file: `config/reader.rs` is `config`, `reader`.
    pub fn module(&self) -> Vec<&str> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        if stem == "lib" { Vec::new() } else { stem.split('/').collect() }
    }

    /// The code that is part of the program: without what `#[cfg(test)]` stands before.
    pub fn program(&self) -> String {
        if self.module().contains(&"tests") {
            return String::new();
        }
        let mut code = self.code.clone();
        while let Some(start) = code.find("#[cfg(test)]") {
            let end = item_end(&code, start);
            let blank: String =
                code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..end, &blank);
        }
        code
    }

    pub fn line_of(&self, offset: usize) -> usize {
        line_of(&self.text, offset)
    }
}

pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where the item that starts at `start` ends: at its closing brace, or its semicolon.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return start + at + 1;
                }
            }
            ';' if depth == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("it is below").to_str().expect("UTF-8");
            found.push(Source::new(name, &fs::read_to_string(&path).expect("a file that can be read")));
        }
    }
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    code: Vec<u8>,
    strings: Vec<(usize, String)>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            if rest.starts_with(b"//") {
                let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                self.blank(end);
            } else if rest.starts_with(b"/*") {
                let end = block_comment(rest);
                self.blank(end);
            } else if let Some((open, hashes)) = raw_string(rest).filter(|_| !self.inside_a_word()) {
                let closing = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                let end = find(&rest[open..], &closing).map_or(rest.len(), |end| open + end + closing.len());
                self.string(open, end - closing.len(), end);
            } else if rest[0] == b'"' {
                let end = quoted(rest);
                self.string(1, end - 1, end);
            } else if rest[0] == b'\'' {
                match character(rest) {
                    Some(end) => self.blank(end),
                    None => self.at += 1,
                }
            } else {
                self.at += 1;
            }
        }
    }

    fn inside_a_word(&self) -> bool {
        self.at > 0 && (self.text[self.at - 1].is_ascii_alphanumeric() || self.text[self.at - 1] == b'_')
    }

    fn string(&mut self, from: usize, to: usize, end: usize) {
        let line = self.text[..self.at].iter().filter(|b| **b == b'\n').count() + 1;
        let inside = self.text[self.at + from..self.at + to.max(from)].to_vec();
        self.strings.push((line, String::from_utf8_lossy(&inside).into_owned()));
        for index in self.at + from..self.at + to {
            self.blank_one(index);
        }
        self.at += end;
    }

    fn blank(&mut self, len: usize) {
        for index in self.at..self.at + len {
            self.blank_one(index);
        }
        self.at += len;
    }

    fn blank_one(&mut self, index: usize) {
        if self.code[index] != b'\n' {
            self.code[index] = b' ';
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of the opening of `r"…"`, `br#"…"#` and the like, and how many hashes it has.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = [b"br".as_slice(), b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|b| **b == b'#').count();
    (rest.get(prefix.len() + hashes) == Some(&b'"')).then_some((prefix.len() + hashes + 1, hashes))
}

/// Length of `"…"`.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `'x'` or `'\n'`; none where the quote begins a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|b| *b == b'\'').map(|end| end + 4);
    }
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
    let len = text.chars().next()?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

#[test]
fn comments_and_strings_are_no_code() {
    let source = Source::new(
        "x.rs",
        "a // b \"c\n/* d /* e */ f */ g \"h // i\" r#\"j\"k\"# 'l' '\\'' &'m n\nb'\"' o \"p\\\"q\" r",
    );
    let words: Vec<&str> = source.code.split_whitespace().collect();
    assert_eq!(words, ["a", "g", "\"", "\"", "r#\"", "\"#", "&'m", "n", "b", "o", "\"", "\"", "r"]);
    let strings: Vec<&str> = source.strings.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(strings, ["h // i", "j\"k", "p\\\"q"]);
    assert_eq!(source.strings[2].0, 3);
}

#[test]
fn test_code_is_not_the_program() {
    let source = Source::new("x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n");
    let program = source.program();
    assert!(program.contains("fn a") && program.contains("fn c") && !program.contains("fn b"), "{program}");
    assert_eq!(Source::new("a/tests/b.rs", "fn a() {}").program(), "");
}
