//! Container selectors: the values of `--container`, in all commands.

use std::fmt;
use std::str::FromStr;

use super::attribute_names as names;
use crate::containers::{Chain, is_name, matches_prefix};
use crate::text::glob;

/// A value of `--container`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerSelector {
    /// `host`: what runs in no container.
    Host,
    /// A pattern of names: `web-*`.
    Pattern(String),
    /// A name, or the beginning of an id.
    Word(String),
    /// `label:KEY=VALUE`, `label:KEY`: a label of the container or of its pod.
    Label {
        /// The key.
        key: String,
        /// The value; any, if there is none.
        value: Option<String>,
    },
    /// `image:GLOB`
    Image(String),
    /// `pod:NAMESPACE/NAME`, `pod:NAME`; both may be patterns.
    Pod {
        /// The namespace; any, if there is none.
        namespace: Option<String>,
        /// The name.
        name: String,
    },
}

/// A word of at least this many hexadecimal digits is always an id.
const ID_DIGITS: usize = 8;

impl ContainerSelector {
    /// Whether only the attributes that the runtime reports identify the container, not its id.
    pub fn needs_names(&self) -> bool {
        match self {
            Self::Host => false,
            Self::Word(word) => word.len() < ID_DIGITS || !word.bytes().all(|b| b.is_ascii_hexdigit()),
            Self::Pattern(_) | Self::Label { .. } | Self::Image(_) | Self::Pod { .. } => true,
        }
    }

    /// Whether it matches this container id. If the id is a name, patterns of names match it too.
    pub fn matches_id(&self, id: &str) -> bool {
        match self {
            Self::Word(word) => matches_prefix(id, word),
            Self::Pattern(pattern) => {
                is_name(id.as_bytes()) && glob::matches(pattern.as_bytes(), id.as_bytes())
            }
            Self::Host | Self::Label { .. } | Self::Image(_) | Self::Pod { .. } => false,
        }
    }

    /// Whether it matches a cgroup inside these containers by one of their ids; `host` matches one inside none.
    pub fn matches_chain(&self, chain: &Chain) -> bool {
        match self {
            Self::Host => chain.is_host(),
            _ => chain.0.iter().any(|container| self.matches_id(&container.id)),
        }
    }

    /// Whether it matches a container with these attributes: `get` returns the value for each name of [`names`].
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let fits = |pattern: &str, value: Option<&str>| {
            value.is_some_and(|value| glob::matches(pattern.as_bytes(), value.as_bytes()))
        };
        match self {
            Self::Host => false,
            Self::Word(word) => get(names::NAME) == Some(word),
            Self::Pattern(pattern) => fits(pattern, get(names::NAME)),
            Self::Label { key, value } => [names::LABEL, names::POD_LABEL].iter().any(|name| {
                let found = get(&format!("{name}[{key}]"));
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }),
            Self::Image(pattern) => fits(pattern, get(names::IMAGE)),
            Self::Pod { namespace, name } => {
                fits(name, get(names::POD_NAME))
                    && namespace.as_ref().is_none_or(|namespace| fits(namespace, get(names::POD_NAMESPACE)))
            }
        }
    }
}

impl FromStr for ContainerSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let or_empty = |part: &str, what: &str| {
            if part.is_empty() { Err(format!("`{text}`: {what} is missing")) } else { Ok(part.to_owned()) }
        };
        if let Some(label) = text.strip_prefix("label:") {
            let (key, value) = match label.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (label, None),
            };
            return Ok(Self::Label { key: or_empty(key, "the key of the label")?, value });
        }
        if let Some(pattern) = text.strip_prefix("image:") {
            return Ok(Self::Image(or_empty(pattern, "the image")?));
        }
        if let Some(pod) = text.strip_prefix("pod:") {
            let (namespace, name) = match pod.split_once('/') {
                Some((namespace, name)) => (Some(or_empty(namespace, "the namespace")?), name),
                None => (None, pod),
            };
            return Ok(Self::Pod { namespace, name: or_empty(name, "the name of the pod")? });
        }
        Ok(match or_empty(text, "the container")? {
            host if host == "host" => Self::Host,
            pattern if pattern.contains(['*', '?', '[']) => Self::Pattern(pattern),
            word => Self::Word(word),
        })
    }
}

impl fmt::Display for ContainerSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Word(text) | Self::Pattern(text) => f.write_str(text),
            Self::Label { key, value: Some(value) } => write!(f, "label:{key}={value}"),
            Self::Label { key, value: None } => write!(f, "label:{key}"),
            Self::Image(pattern) => write!(f, "image:{pattern}"),
            Self::Pod { namespace: Some(namespace), name } => write!(f, "pod:{namespace}/{name}"),
            Self::Pod { namespace: None, name } => write!(f, "pod:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> ContainerSelector {
        let wanted: ContainerSelector = text.parse().unwrap();
        assert_eq!(wanted.to_string(), text);
        wanted
    }

    fn get<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> {
        |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    #[test]
    fn containers_are_meant_by_all_that_is_known() {
        let facts = [
            ("container.name", "web"),
            ("container.image", "registry/nginx:1.27"),
            ("container.label[app]", "x"),
            ("k8s.pod.label[tier]", "front=end"),
            ("k8s.pod.name", "web-0"),
            ("k8s.ns.name", "shop"),
        ];
        for text in [
            "web",
            "w*",
            "w[de]b",
            "label:app=x",
            "label:app",
            "label:tier=front=end",
            "image:*/nginx:*",
            "pod:shop/web-0",
            "pod:web-*",
            "pod:s*/web-?",
        ] {
            assert!(wanted(text).matches(get(&facts)), "{text}");
        }
        for text in
            ["we", "x*", "host", "label:app=y", "label:zone", "image:nginx", "pod:bank/web-0", "pod:web"]
        {
            assert!(!wanted(text).matches(get(&facts)), "{text}");
        }
        assert!(wanted("00ff").matches_id("00ff11") && !wanted("image:00ff").matches_id("00ff11"));
    }

    #[test]
    fn ids_need_no_names() {
        assert!(!wanted("0123abcd").needs_names() && !wanted("host").needs_names());
        for text in ["0123abc", "web", "0123abcd*", "label:a=b", "image:x", "pod:x"] {
            assert!(wanted(text).needs_names(), "{text}");
        }
    }

    #[test]
    fn the_host_has_no_container_around_it() {
        let chain = |path: &str| crate::containers::identify(path);
        assert!(wanted("host").matches_chain(&chain("/system.slice/ssh.service")));
        assert!(!wanted("host").matches_chain(&chain("/lxc/web")));
        assert!(wanted("w*").matches_chain(&chain("/lxc/web")));
        assert!(!wanted("w*").matches_chain(&chain("/lxc/db")) && !wanted("*").matches_chain(&chain("/")));
    }

    #[test]
    fn what_is_missing_is_said() {
        for text in ["", "label:", "label:=x", "image:", "pod:", "pod:/x", "pod:x/"] {
            assert!(text.parse::<ContainerSelector>().unwrap_err().contains("missing"), "{text}");
        }
    }
}
