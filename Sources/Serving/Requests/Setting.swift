/// A setting of a job file, and what it may be.
enum Setting {
    /// - Throws: `ServingError.configuration` with the name, the value and the limits; a `nan` lies
    ///   outside every range.
    static func check<Value: Comparable>(
        _ name: String, _ value: Value, _ least: Value, _ most: Value
    ) throws(ServingError) {
        guard least <= value, value <= most else {
            throw .configuration(
                message: "\(name) is \(value): it must lie in \(least)...\(most)")
        }
    }
}

extension EngineConfiguration {
    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    public func validate() throws(ServingError) {
        // Beyond these a slip of the keyboard is likelier than a wish; a step must fit a window.
        try Setting.check("runningLimit", runningLimit, 1, 1 << 16)
        try Setting.check("waitingLimit", waitingLimit, 0, 1 << 20)
        try Setting.check("stepTokens", stepTokens, 1, 1 << 17)
        try Setting.check("promptTokensBesideStreams", promptTokensBesideStreams, 1, 1 << 17)
        try Setting.check("speculationStreams", speculationStreams, 0, 1 << 16)
        try Setting.check("draftCopyBytes", draftCopyBytes, 0, 1 << 40)
        try Setting.check("sharedHeadBytes", sharedHeadBytes, 0, 1 << 40)
        try Setting.check("overlapThreshold", overlapThreshold, 0, 1)
        // At the most, a step takes some ten seconds: a sixth of the job's `stepSeconds`.
        try Setting.check("constraintSteps", constraintSteps, 1, 1 << 30)
    }
}

extension OpenAIServerConfiguration {
    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    public func validate() throws(ServingError) {
        try Setting.check("port", port, 0, 65535)
        let day = 86400
        try Setting.check("limits.bodyBytes", limits.bodyBytes, 1, 1 << 30)
        try Setting.check("limits.headerBytes", limits.headerBytes, 1 << 10, 1 << 20)
        try Setting.check("limits.promptTokens", limits.promptTokens, 1, 1 << 24)
        try Setting.check("limits.prompts", limits.prompts, 1, 1 << 16)
        try Setting.check("limits.choices", limits.choices, 1, 1 << 16)
        try Setting.check("limits.messages", limits.messages, 1, 1 << 20)
        try Setting.check("limits.tools", limits.tools, 0, 1 << 16)
        try Setting.check("limits.stopStrings", limits.stopStrings, 0, 1 << 16)
        try Setting.check("limits.stopLength", limits.stopLength, 1, 1 << 16)
        try Setting.check("limits.logitBiases", limits.logitBiases, 0, 1 << 20)
        try Setting.check("limits.topLogprobs", limits.topLogprobs, 0, 1 << 16)
        try Setting.check("limits.connections", limits.connections, 1, 1 << 20)
        try Setting.check("limits.generations", limits.generations, 1, 1 << 20)
        try Setting.check("limits.idleSeconds", limits.idleSeconds, 1, day)
        try Setting.check("limits.writeSeconds", limits.writeSeconds, 1, day)
        try Setting.check("limits.drainSeconds", limits.drainSeconds, 0, day)
    }
}
