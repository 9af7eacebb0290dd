//! The text format of golden frames.

use std::fmt::Write as _;

use kafka_protocol::messages::ApiKey;

use super::Exchange;

/// Bytes per line.
const WIDTH: usize = 32;

/// The exchanges of one API in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenFile {
    /// Which broker answered: `Apache Kafka 4.1.2`.
    pub broker: String,
    /// The API.
    pub api: ApiKey,
    /// Version of request and response.
    pub version: i16,
    /// In the order they happened.
    pub exchanges: Vec<Exchange>,
}

/// A golden file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct GoldenError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl GoldenFile {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("# {:?} v{}, {}\n\n", self.api, self.version, self.broker);
        for exchange in &self.exchanges {
            writeln!(text, "= {}", exchange.step).expect("writing to a String cannot fail");
            for (mark, frame) in [('>', &exchange.request), ('<', &exchange.response)] {
                for (number, line) in frame.chunks(WIDTH).enumerate() {
                    let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
                    let ascii: String = line.iter().map(|byte| printable(*byte)).collect();
                    let offset = number * WIDTH;
                    writeln!(text, "{mark} {offset:04x}  {hex:<width$}  {ascii}", width = 2 * WIDTH)
                        .expect("writing to a String cannot fail");
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// The first line that is not of the format.
    pub fn parse(text: &str) -> Result<Self, GoldenError> {
        let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
        let (number, title) = lines.next().ok_or_else(|| error(0, "the file is empty"))?;
        let (api, version, broker) =
            parse_title(title).ok_or_else(|| error(number, "expected `# <Api> v<version>, <broker>`"))?;
        let mut exchanges = Vec::new();
        let mut open: Option<(String, Vec<u8>, Vec<u8>)> = None;
        for (number, line) in lines {
            match (line.split_at_checked(2), &mut open) {
                (Some(("= ", step)), None) => open = Some((step.to_owned(), Vec::new(), Vec::new())),
                (Some(("> ", bytes)), Some((_, request, response))) if response.is_empty() => {
                    request.extend(parse_bytes(number, request.len(), bytes)?);
                }
                (Some(("< ", bytes)), Some((_, _, response))) => {
                    response.extend(parse_bytes(number, response.len(), bytes)?);
                }
                (None, _) if line.is_empty() => {
                    let ended = open.take().map(|(step, request, response)| Exchange {
                        step,
                        request: request.into(),
                        response: response.into(),
                    });
                    exchanges.extend(ended);
                }
                _ => {
                    return Err(error(
                        number,
                        "expected `= <step>`, `> <bytes>`, `< <bytes>`, or an empty line",
                    ));
                }
            }
        }
        match open {
            None => Ok(Self {
                broker,
                api,
                version,
                exchanges,
            }),
            Some(_) => Err(error(
                text.lines().count(),
                "the last exchange is not ended by an empty line",
            )),
        }
    }

    /// `join_group-v9.txt`
    pub fn file_name(api: ApiKey, version: i16) -> String {
        let mut name = String::new();
        for c in format!("{api:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        format!("{name}-v{version}.txt")
    }
}

/// Splits `# JoinGroup v9, Apache Kafka 4.1.2`.
fn parse_title(title: &str) -> Option<(ApiKey, i16, String)> {
    let (name, rest) = title.strip_prefix("# ")?.split_once(" v")?;
    let (version, broker) = rest.split_once(", ")?;
    let api = (0..128)
        .filter_map(|key| ApiKey::try_from(key).ok())
        .find(|api| format!("{api:?}") == name)?;
    Some((api, version.parse().ok()?, broker.to_owned()))
}

/// Reads `0020  000102  ...`: the offset, the bytes, and the same bytes as text, which is for readers only.
fn parse_bytes(line: usize, offset: usize, text: &str) -> Result<Vec<u8>, GoldenError> {
    let mut words = text.splitn(3, "  ");
    if words.next() != Some(&format!("{offset:04x}")) {
        return Err(error(line, format!("expected the offset {offset:04x}")));
    }
    let digits = words.next().unwrap_or_default().trim_end().as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.ok_or_else(|| error(line, "expected pairs of hexadecimal digits"))
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() { char::from(byte) } else { '.' }
}

fn error(line: usize, reason: impl Into<String>) -> GoldenError {
    GoldenError {
        line,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sample() -> GoldenFile {
        let long: Vec<u8> = (0..100).collect();
        let step = "two members join".to_owned();
        let exchange = Exchange {
            step: step.clone(),
            request: long.into(),
            response: Bytes::from_static(b"\x00\xff"),
        };
        let without_response = Exchange {
            step,
            request: Bytes::from_static(b"\x01"),
            response: Bytes::new(),
        };
        GoldenFile {
            broker: "Apache Kafka 4.1.2".into(),
            api: ApiKey::JoinGroup,
            version: 9,
            exchanges: vec![exchange, without_response],
        }
    }

    #[test]
    fn a_file_reads_as_it_was_written() {
        let text = sample().to_text();
        assert!(
            text.starts_with("# JoinGroup v9, Apache Kafka 4.1.2\n\n= two members join\n> 0000  000102"),
            "{text}"
        );
        assert_eq!(GoldenFile::parse(&text), Ok(sample()));
    }

    #[test]
    fn a_damaged_file_is_refused_by_line() {
        let text = sample().to_text();
        for (from, to, line) in [
            ("# JoinGroup", "JoinGroup", 1),
            ("JoinGroup v9", "JoinGroop v9", 1),
            ("> 0000  0001", "> 0001  0001", 4),
            ("> 0000  0001", "> 0000  000", 4),
            ("> 0000  0001", "> 0000  0x01", 4),
            ("> 0020", "> 0040", 5),
            ("> 0000", "= again\n> 0000", 4),
            ("< 0000", "< 0000  00\n> 0064  00\n< 0001", 9),
            ("= two", "two", 3),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_eq!(
                GoldenFile::parse(&damaged).map_err(|error| error.line),
                Err(line),
                "{from} -> {to}"
            );
        }
        assert!(GoldenFile::parse(text.trim_end()).is_err(), "an unfinished exchange");
        assert!(GoldenFile::parse("").is_err());
    }

    #[test]
    fn a_file_is_named_after_its_api_and_version() {
        assert_eq!(GoldenFile::file_name(ApiKey::JoinGroup, 9), "join_group-v9.txt");
        assert_eq!(GoldenFile::file_name(ApiKey::Fetch, 16), "fetch-v16.txt");
    }
}
