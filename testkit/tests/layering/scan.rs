//! Finds the paths a Rust source names: a lexer that knows comments, strings and `use` trees, and nothing else.

/// A path as written, resolved as far as the text alone allows: it begins with `crate` or with a crate's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Every path of `source` that begins with `crate`, `self`, `super` or one of `crates`. `module` is where the source
/// stands in its crate: `["fetcher", "session"]`.
pub(crate) fn paths(source: &str, module: &[&str], crates: &[&str]) -> Vec<Path> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut inside: Vec<(String, usize)> = Vec::new();
    let (mut depth, mut at) = (0, 0);
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        match text {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.retain(|(_, opened)| *opened < depth + 1);
            }
            "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => {
                inside.push((tokens[at + 1].text.clone(), depth + 1));
                at += 1;
            }
            _ => {}
        }
        let begins = at == 0 || tokens[at - 1].text != "::";
        if begins && (matches!(text, "crate" | "self" | "super") || crates.contains(&text)) && is_path(&tokens, at) {
            let here = module
                .iter()
                .map(|m| (*m).to_owned())
                .chain(inside.iter().map(|(name, _)| name.clone()));
            let here: Vec<String> = here.collect();
            for path in tree(&tokens, &mut at, &[]) {
                found.extend(resolve(path, &here));
            }
            continue;
        }
        at += 1;
    }
    found
}

/// `use` declarations of a source: the name each brings in, and the path behind it.
pub(crate) fn imports(source: &str) -> Vec<(String, Path)> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text != "use" {
            at += 1;
            continue;
        }
        at += 1;
        for path in tree(&tokens, &mut at, &[]) {
            found.extend(path.segments.last().cloned().map(|name| (name, path)));
        }
    }
    found
}

/// `crate` alone (as in `pub(crate)`) and `self` alone (a receiver) are no paths.
fn is_path(tokens: &[Token], at: usize) -> bool {
    let next = tokens.get(at + 1).map(|t| t.text.as_str());
    let named = !matches!(tokens[at].text.as_str(), "crate" | "self" | "super");
    let imported = at > 0 && tokens[at - 1].text == "use";
    next == Some("::") || (named && imported)
}

/// Reads a path or a `use` tree, leaving `at` behind it: `a::{b, c::*}` is `a::b` and `a::c::*`.
fn tree(tokens: &[Token], at: &mut usize, prefix: &[String]) -> Vec<Path> {
    let mut segments = prefix.to_vec();
    let line = tokens.get(*at).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(*at) {
        match token.text.as_str() {
            "{" => return branches(tokens, at, &segments),
            "*" => {
                *at += 1;
                segments.push("*".into());
                break;
            }
            "::" => *at += 1,
            text if is_identifier(text) => {
                *at += 1;
                segments.push(text.to_owned());
                if tokens.get(*at).is_none_or(|t| t.text != "::") {
                    break;
                }
            }
            _ => break,
        }
    }
    vec![Path { segments, line }]
}

fn branches(tokens: &[Token], at: &mut usize, prefix: &[String]) -> Vec<Path> {
    let mut found = Vec::new();
    *at += 1;
    while let Some(token) = tokens.get(*at) {
        match token.text.as_str() {
            "}" => {
                *at += 1;
                break;
            }
            "," => *at += 1,
            "as" => *at += 2,
            text if text == "{" || text == "*" || text == "::" || is_identifier(text) => {
                found.extend(tree(tokens, at, prefix));
            }
            _ => *at += 1,
        }
    }
    found
}

/// Makes `self` and `super` absolute. `None` if the path leaves the crate, which does not compile anyway.
fn resolve(path: Path, here: &[String]) -> Option<Path> {
    let mut base: Vec<String> = vec!["crate".into()];
    let mut rest = path.segments.iter().peekable();
    match path.segments.first()?.as_str() {
        "self" => {
            base.extend(here.iter().cloned());
            rest.next();
        }
        "super" => {
            let mut up = here.to_vec();
            while rest.next_if(|segment| *segment == "super").is_some() {
                up.pop()?;
            }
            base.extend(up);
        }
        _ => base.clear(),
    }
    base.extend(rest.cloned());
    Some(Path {
        segments: base,
        line: path.line,
    })
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Identifiers, `::`, and single characters of punctuation; comments and literals are gone.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let skipped = literal(&chars, at);
        if skipped > at {
            line += chars[at..skipped].iter().filter(|c| **c == '\n').count();
            at = skipped;
            continue;
        }
        let c = chars[at];
        let mut end = at + 1;
        if c == '_' || c.is_alphanumeric() {
            while chars.get(end).is_some_and(|c| *c == '_' || c.is_alphanumeric()) {
                end += 1;
            }
        } else if c == ':' && chars.get(end) == Some(&':') {
            end += 1;
        }
        if !c.is_whitespace() {
            tokens.push(Token {
                text: chars[at..end].iter().collect(),
                line,
            });
        }
        line += usize::from(c == '\n');
        at = end;
    }
    tokens
}

/// Where the comment, string or character literal that begins at `at` ends; `at` if none begins there.
fn literal(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    if starts("//") {
        return at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
    }
    if starts("/*") {
        return block_comment(chars, at);
    }
    let word_before = at > 0 && (chars[at - 1] == '_' || chars[at - 1].is_alphanumeric());
    if !word_before && (starts("r\"") || starts("r#\"") || starts("br\"") || starts("br#\"") || starts("r##\"")) {
        return raw_string(chars, at);
    }
    match rest[0] {
        '"' => quoted(chars, at, '"'),
        // 'a' and '\n' are characters, 'a alone is a lifetime.
        '\'' if rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'') => quoted(chars, at, '\''),
        _ => at,
    }
}

fn quoted(chars: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let open = at + chars[at..].iter().position(|c| *c == '"').unwrap_or(0);
    let hashes = chars[at..open].iter().filter(|c| **c == '#').count();
    let closes =
        |end: usize| chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len())
        .find(|end| closes(*end))
        .map_or(chars.len(), |end| end + 1 + hashes)
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            break;
        }
    }
    end.min(chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, module: &[&str]) -> Vec<String> {
        paths(source, module, &["kafka_wire"])
            .into_iter()
            .map(|p| p.segments.join("::"))
            .collect()
    }

    #[test]
    fn a_use_tree_is_all_its_branches() {
        let source = "use crate::{a::{B, c::*}, d as e};";
        assert_eq!(found(source, &[]), ["crate::a::B", "crate::a::c::*", "crate::d"]);
    }

    #[test]
    fn self_and_super_are_counted_from_where_the_source_stands() {
        assert_eq!(
            found("use super::x::Y; use self::z::W;", &["m", "n"]),
            ["crate::m::x::Y", "crate::m::n::z::W"]
        );
        let nested = "mod tests { use super::super::x; } use super::y;";
        assert_eq!(found(nested, &["m", "n"]), ["crate::m::x", "crate::m::y"]);
    }

    #[test]
    fn paths_outside_use_declarations_count_too() {
        assert_eq!(
            found("fn f() -> kafka_wire::Client { crate::a::g(self.b) }", &[]),
            ["kafka_wire::Client", "crate::a::g"]
        );
    }

    #[test]
    fn comments_strings_and_visibility_name_nothing() {
        let source = r##"
            // use crate::a;
            /* crate::b /* crate::c */ crate::d */
            pub(crate) fn f<'a>(self) -> &'a str { let _ = ':'; "crate::e \" crate::f" }
            const S: &str = r#"crate::g " crate::h"#;
        "##;
        assert_eq!(found(source, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_line_number_leads_to_the_path() {
        assert_eq!(paths("//\n/*\n*/ use crate::a;", &[], &[])[0].line, 3);
    }

    #[test]
    fn imports_name_what_a_re_export_stands_for() {
        let names: Vec<String> = imports("pub use client::{Client, config::ClientConfig};")
            .into_iter()
            .map(|(n, p)| format!("{n}={}", p.segments.join("::")))
            .collect();
        assert_eq!(
            names,
            ["Client=client::Client", "ClientConfig=client::config::ClientConfig"]
        );
    }
}
