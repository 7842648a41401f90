//! A plan that can be wired beside another one of the same components: it takes nothing that only one can have.

use std::path::Path;

use tidegate_flow::StageKind;

use super::{Plan, PlanNode, Settings, component};
use crate::tree::{Node, Text, Value};

impl Plan {
    /// The same plan, with ports of the system's choice, and with `folder` for sockets and for what is kept.
    pub(crate) fn on_trial(&self, folder: &Path) -> Self {
        let settings = Settings { data_dir: folder.to_path_buf(), ..self.settings.clone() };
        // The path of a socket must be short, and a name need not be.
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.filter_map(|(at, node)| node.on_trial(folder, &format!("s{at}"))).collect();
        Self { settings, nodes, cases: Vec::new() }
    }
}

impl PlanNode {
    fn on_trial(&self, folder: &Path, socket: &str) -> Option<Self> {
        let mut tree = self.tree.clone();
        if self.kind == StageKind::Source {
            replace(&mut tree, "address", |address| match address.rsplit_once(':') {
                Some((host, _)) => format!("{host}:0"),
                None => address.to_owned(),
            });
            let is_socket = tree.as_table().and_then(|table| table.get("mode")).is_some();
            if is_socket {
                replace(&mut tree, "path", |_| folder.join(socket).display().to_string());
            }
            replace(&mut tree, "data_dir", |_| folder.display().to_string());
        }
        Some(Self {
            name: self.name.clone(),
            place: self.place,
            kind: self.kind,
            type_name: self.type_name,
            component: component::read_again(self.kind, self.type_name, &tree)?,
            inputs: self.inputs.clone(),
            buffer: self.buffer.clone(),
            columns: self.columns.clone(),
            dead_letters: self.dead_letters,
            tree,
        })
    }
}

fn replace(tree: &mut Node, key: &str, with: impl FnOnce(&str) -> String) {
    let Value::Table(table) = &mut tree.value else { return };
    let Some(entry) = table.entries.iter_mut().find(|entry| entry.key.name == key) else { return };
    if let Value::Text(text) = &entry.node.value {
        let text = Text::literal(with(&text.string), entry.node.place.start);
        entry.node.value = Value::Text(text);
    }
}
