/// Closed forms as the papers give them, on which plans and published figures are built.
package enum PaperFormulas {
    /// Wire time of a dispatch and combine of one micro-batch: every copy remote, full rate, no
    /// latency, zero compute.
    ///
    /// Source: Insights into DeepSeek-V3, 2.3.2.
    package static func exchangeSeconds(
        tokens: Double, copies: Int, hidden: Int, bytesPerSecond: Double,
        dispatchBytesPerValue: Double = 1, combineBytesPerValue: Double = 2
    ) -> Double {
        (dispatchBytesPerValue + combineBytesPerValue) * tokens * Double(copies * hidden)
            / bytesPerSecond
    }

    /// TPOT of `layers` layers when travel is all that counts: two micro-batches take turns.
    ///
    /// Source: Insights into DeepSeek-V3, 2.3.2.
    package static func outputSeconds(exchange: Double, layers: Int) -> Double {
        2 * exchange * Double(layers)
    }
}
