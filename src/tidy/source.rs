//! A Rust file as the rules see it: its code without comments and strings, its imports, its functions.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    path: String,
    text: String,
    /// The text with comments, strings and inline test modules blanked out; lines stay where they are.
    code: String,
    test: bool,
}

/// One function of a file.
pub struct Function {
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// From its `fn` to its closing brace.
    pub lines: usize,
    /// Inside an inline test module.
    pub is_test: bool,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository.
pub fn all() -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in ["src", "test-scripts"] {
        collect(&root().join(directory), &mut paths);
    }
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let relative = path.strip_prefix(root()).expect("found below the root");
            Source::new(&relative.to_string_lossy(), &text)
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        source.test |= tests.iter().any(|test| {
            stem.strip_prefix(test.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
    sources
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("our directories can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let test =
            path.starts_with("test-scripts/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let code = without_test_modules(&code_of(text));
        Source { path: path.to_owned(), text: text.to_owned(), code, test }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Not part of what is shipped.
    pub fn is_test(&self) -> bool {
        self.test
    }

    pub fn is_product(&self) -> bool {
        self.path.starts_with("src/") && !self.test
    }

    /// The top-level module it belongs to.
    pub fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split('/').next().expect("a split has a first part").trim_end_matches(".rs")
    }

    /// Is it this module, `a` or `a/b`, or below it?
    pub fn is_within(&self, module: &str) -> bool {
        let inner = self.path.strip_prefix("src/").map(|path| path.trim_end_matches(".rs"));
        let rest = inner.and_then(|inner| inner.strip_prefix(module));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A message about this line.
    pub fn at(&self, line: usize, message: &str) -> String {
        format!("{}:{line}: {message}", self.path)
    }

    /// Lines of code, from 1, that name this: as whole words, and inside `use std::{…}` as well.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let mut found: Vec<usize> = self.find(word).collect();
        if let Some((parent, item)) = word.rsplit_once("::").filter(|(_, item)| !item.is_empty()) {
            let group = format!("{parent}::{{");
            for (at, _) in self.code.match_indices(&group) {
                let inside = &self.code[at + group.len()..];
                if group_items(inside).iter().any(|name| name == item) {
                    found.push(self.line_of(at));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The line and top-level module of every `crate::…`.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut imports = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let inside = &self.code[at + "crate::".len()..];
            let names = match inside.strip_prefix('{') {
                Some(group) => group_items(group),
                None => vec![identifier(inside).to_owned()],
            };
            imports.extend(names.into_iter().map(|name| (self.line_of(at), name)));
        }
        imports
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        // From the whole code, so that functions inside test modules are seen to be there.
        let code = code_of(&self.text);
        let mut functions = Vec::new();
        for (at, _) in code.match_indices("fn ") {
            let name = identifier(&code[at + 3..]);
            if name.is_empty() || code[..at].ends_with(is_word) {
                continue;
            }
            let Some(length) = body_length(&code[at..]) else { continue };
            let lines = 1 + code[at..at + length].matches('\n').count();
            let line = 1 + code[..at].matches('\n').count();
            let is_test = !self.code[at..].starts_with("fn ");
            functions.push(Function { name: name.to_owned(), line, lines, is_test });
        }
        functions
    }

    /// Paths, without `.rs`, of modules that are declared for tests alone.
    fn test_modules(&self) -> Vec<String> {
        let mut modules = Vec::new();
        let stem = self.path.trim_end_matches(".rs");
        let directory = match stem.strip_suffix("/lib").or_else(|| stem.strip_suffix("/main")) {
            Some(directory) => directory,
            None => stem,
        };
        for (at, attribute) in self.text.match_indices("#[cfg(test)]") {
            let item = self.text[at + attribute.len()..].trim_start();
            let item = item.strip_prefix("pub ").unwrap_or(item);
            if let Some(rest) = item.strip_prefix("mod ") {
                modules.push(format!("{directory}/{}", identifier(rest)));
            }
        }
        modules
    }

    fn find(&self, word: &str) -> impl Iterator<Item = usize> {
        let whole = move |at: usize| {
            let before = self.code[..at].ends_with(is_word) && word.starts_with(is_word);
            let after = self.code[at + word.len()..].starts_with(is_word) && word.ends_with(is_word);
            !before && !after
        };
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(move |at| whole(*at))
            .map(|at| self.line_of(at))
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn identifier(text: &str) -> &str {
    &text[..text.find(|letter| !is_word(letter)).unwrap_or(text.len())]
}

/// The first names of `a::b, c, d::{e, f}}…`, up to the brace that closes the group.
fn group_items(inside: &str) -> Vec<String> {
    let (mut depth, mut items, mut expects) = (0, Vec::new(), true);
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects = true,
            _ if expects && is_word(letter) => {
                items.push(identifier(&inside[at..]).to_owned());
                expects = false;
            }
            _ => {}
        }
    }
    items
}

/// Bytes from the `fn` to the brace that closes its body; `None` without a body.
fn body_length(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_u32, 0_u32);
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return (braces == 1).then_some(at + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// Inline `#[cfg(test)] mod … { … }` and other items for tests alone, blanked out.
fn without_test_modules(code: &str) -> String {
    let mut rest = code.to_owned();
    let mut from = 0;
    while let Some(found) = rest[from..].find("#[cfg(test)]") {
        let at = from + found;
        let length =
            body_length(&rest[at + "#[cfg(test)]".len()..]).map_or(0, |body| body + "#[cfg(test)]".len());
        rest.replace_range(at..at + length, &blank(&rest[at..at + length]));
        from = at + length.max(1);
    }
    rest
}

/// As long as before, line ends in place, nothing else left.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// The text with comments, strings and character literals blanked out.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if letter == '"' {
            string_length(rest)
        } else if letter == 'r' && !after_word {
            raw_string_length(rest)
        } else if letter == '\'' {
            character_length(rest)
        } else {
            0
        };
        if length > 0 {
            code.push_str(&blank(&rest[..length]));
            rest = &rest[length..];
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    code
}

fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Of `r"…"` or `r#"…"#`; 0 for a word that begins with r and for a raw identifier.
fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = hashes + 2;
    text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len())
}

/// Of `'x'` or `'\n'`; 0 for a lifetime.
fn character_length(text: &str) -> usize {
    if text[1..].starts_with('\\') {
        return text[3..].find('\'').map_or(0, |at| at + 4);
    }
    let letter = text[1..].chars().next().map_or(0, char::len_utf8);
    if text[1 + letter..].starts_with('\'') { letter + 2 } else { 0 }
}
