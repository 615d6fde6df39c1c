import Language

extension GenerationRequest {
    /// Checks what depends on the model.
    ///
    /// - Throws: `ServingError.invalidRequest` with the value and the limit.
    func check(for network: any SequenceNetwork) throws(ServingError) {
        guard !prompt.isEmpty else {
            throw .invalidRequest(message: "the prompt is empty", parameter: "prompt")
        }
        for token in prompt + stopTokens where token < 0 || token >= network.vocabularySize {
            throw .invalidRequest(
                message: "token \(token) is out of range: the model has "
                    + "\(network.vocabularySize) (vocab_size)",
                parameter: "prompt")
        }
        do throws(LanguageError) {
            try sampling.validate(vocabularySize: network.vocabularySize)
        } catch {
            throw .invalidRequest(message: "\(error)", parameter: nil)
        }
        let total = prompt.count + maxNewTokens
        guard total <= network.contextLimit else {
            throw .invalidRequest(
                message: "\(total) tokens exceed the context of \(network.contextLimit)",
                parameter: "max_tokens")
        }
    }
}
