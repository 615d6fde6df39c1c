/// Which calls of the group are measured.
public enum AllToAllPath: String, Codable, Sendable, CaseIterable {
    /// Those of a step of serving: f32 rows go out in bf16; experts read them, and write one bf16
    /// row per token and expert, where rows lie in the windows; those are added to an f32 stream.
    case serving
    /// The library's fastest: tokens and sums are stored in bf16, experts read and write rows where
    /// they lie in the windows, and in normal mode ranks and nodes add before rows return.
    case library
}
