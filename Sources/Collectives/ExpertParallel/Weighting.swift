/// Whether a sum of expert outputs is weighted.
public enum Weighting: Sendable {
    /// By the gate weights of the routing.
    case gate
    /// Not at all: each row counts once, as in the backward of dispatch.
    case plain
}
