/// The requests of a batch, read from its file one after another.
struct BatchLines {
    /// One line of the file.
    struct Line {
        /// From 1; blank lines count.
        let number: Int
        let request: Result<BatchLine, APIError>
    }

    private let service: OpenAIService
    private let endpoint: BatchEndpoint
    private var reader: LineReader

    init(_ batch: Batch, in folder: BatchFolder, for service: OpenAIService) throws {
        self.service = service
        endpoint = batch.endpoint
        reader = try LineReader(
            path: folder.path(of: batch.input), limit: service.limits.bodyBytes)
    }

    /// The next line; nil after the last.
    ///
    /// - Throws: `CancellationError`, and `Batch.Refused` for a line that is too long.
    mutating func next() async throws -> Line? {
        try Task.checkCancellation()
        do {
            guard let bytes = try reader.next() else { return nil }
            return Line(
                number: reader.line,
                request: try await service.batchLine(bytes, for: endpoint))
        } catch let error as LineReader.TooLong {
            throw Batch.Refused(faults: [
                Batch.Fault(
                    code: "line_too_long",
                    message: "the line has more than \(error.limit) bytes (api.limits.bodyBytes)",
                    line: error.line)
            ])
        }
    }
}
