//! Circles in the graph of inputs.

use super::Input;

/// Each circle once, as indexes in the order of the flow: each is read by the next, the last by the first. At most one
/// circle for each component that begins one.
pub(super) fn cycles(inputs: &[Vec<Input>]) -> Vec<Vec<usize>> {
    let mut state = vec![State::New; inputs.len()];
    let mut found = Vec::new();
    for start in 0..inputs.len() {
        if state[start] != State::New {
            continue;
        }
        // A stack of its own: a graph may be as deep as it is large.
        let mut path = vec![(start, 0)];
        state[start] = State::OnPath;
        while let Some((node, next)) = path.last_mut() {
            let Some(input) = inputs[*node].get(*next) else {
                state[*node] = State::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match state[input.from] {
                State::New => {
                    state[input.from] = State::OnPath;
                    path.push((input.from, 0));
                }
                State::OnPath => {
                    let begin = path.iter().position(|(node, _)| *node == input.from).unwrap_or_default();
                    // The path goes against the flow.
                    found.push(path[begin..].iter().rev().map(|(node, _)| *node).collect());
                }
                State::Done => {}
            }
        }
    }
    found
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum State {
    New,
    OnPath,
    Done,
}
