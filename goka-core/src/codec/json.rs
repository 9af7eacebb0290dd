//! JSON through serde: what goka's examples write by hand.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError};

/// Values of type `V` as compact JSON.
///
/// Field names are the wire format. Give new fields `#[serde(default)]`, so that rows written before them stay readable.
pub struct Json<V>(PhantomData<fn() -> V>);

impl<V> Json<V> {
    /// The JSON codec of `V`.
    pub const fn new() -> Json<V> {
        Json(PhantomData)
    }
}

impl<V: Serialize + DeserializeOwned + Send + 'static> Codec for Json<V> {
    type Value = V;
    type Borrowed = V;

    fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(into, value).map_err(|error| CodecError::caused_by("Json", error))
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| {
            // serde's own text may quote the value; the place is enough to find it in the topic.
            let problem = match error.classify() {
                serde_json::error::Category::Eof => "the JSON ends too early",
                serde_json::error::Category::Data => "the JSON does not have the expected fields or types",
                serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
            };
            CodecError::new(
                "Json",
                format!("{problem} (line {}, column {})", error.line(), error.column()),
            )
        })
    }
}

// By hand, as derives would ask for `V: Clone` and so on of a type that is only named here.
impl<V> Clone for Json<V> {
    fn clone(&self) -> Json<V> {
        *self
    }
}

impl<V> Copy for Json<V> {}

impl<V> Default for Json<V> {
    fn default() -> Json<V> {
        Json::new()
    }
}

impl<V> fmt::Debug for Json<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Message {
        from: String,
        count: u32,
    }

    #[test]
    fn structs_become_compact_json_and_come_back() {
        let codec = Json::<Message>::new();
        let message = Message {
            from: "bob".into(),
            count: 3,
        };
        let mut bytes = b"kept".to_vec();
        codec.encode(&message, &mut bytes).unwrap();
        assert_eq!(bytes, br#"kept{"from":"bob","count":3}"#);
        assert_eq!(codec.decode(&bytes[4..]).unwrap(), message);
    }

    #[test]
    fn a_wrong_field_is_named_by_its_place_and_not_by_its_content() {
        let error = Json::<Message>::new()
            .decode(br#"{"from":"bob","count":"secret"}"#)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "codec Json: the JSON does not have the expected fields or types (line 1, column 30)"
        );
        assert!(
            Json::<Message>::new()
                .decode(b"")
                .unwrap_err()
                .to_string()
                .contains("ends too early")
        );
        assert!(
            Json::<Message>::new()
                .decode(b"}")
                .unwrap_err()
                .to_string()
                .contains("not JSON")
        );
    }
}
