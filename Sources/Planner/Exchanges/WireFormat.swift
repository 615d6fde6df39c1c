/// How a token's hidden state stands on the wire.
package enum WireFormat: String, Codable, CaseIterable, Sendable {
    /// e4m3 with a 32-bit scale for each 128 values.
    case fp8
    /// bfloat16.
    case bf16
    /// Ten bits per value in log space, with 32 bits for each 128 values.
    case logfmt

    /// Bytes of one token. Source: DeepEP, `low_latency_dispatch` and `low_latency_combine`.
    package func bytes(hidden: Int) -> Double {
        switch self {
        case .fp8: Double(hidden) + Double(hidden) / 128 * 4
        case .bf16: Double(2 * hidden)
        case .logfmt: Double(hidden) * 10 / 8 + Double(hidden) / 128 * 4
        }
    }

    /// The formula of `bytes`, for people.
    package var formula: String {
        switch self {
        case .fp8: "h + h/128 x 4"
        case .bf16: "2h"
        case .logfmt: "h x 10/8 + h/128 x 4"
        }
    }

    /// Bytes that name a token's source beside its values in a dispatch.
    package static let headerBytes = 16.0
}
