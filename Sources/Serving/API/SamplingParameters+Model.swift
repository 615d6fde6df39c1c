import Encoding
import Language

extension SamplingParameters {
    /// How a model's makers sample where a request says nothing.
    ///
    /// A key that is null is not there.
    ///
    /// - Parameters:
    ///   - values: `generation_config.json`; nil where there is none.
    ///   - path: Of that file, for messages.
    /// - Throws: `LanguageError.file` for a value of another kind, or outside its limits.
    init(ofModel values: JSONValue?, path: String) throws(LanguageError) {
        self.init()
        func number(_ name: String) throws(LanguageError) -> Double? {
            guard let value = values?[name], !value.isNull else { return nil }
            guard let number = value.double else {
                throw .file(path, fact: "\(name) is \(value.text.prefix(64)), which is no number")
            }
            return number
        }
        temperature = try number("temperature") ?? temperature
        topP = try number("top_p") ?? topP
        minP = try number("min_p") ?? minP
        repetitionPenalty = try number("repetition_penalty") ?? repetitionPenalty
        if let count = try number("top_k") {
            guard let whole = Int(exactly: count) else {
                throw .file(path, fact: "top_k is \(count), which is no whole number")
            }
            // Some files say -1 for all.
            topK = max(0, whole)
        }
        if values?["do_sample"]?.bool == false { temperature = 0 }
        do { try validate(vocabularySize: 1) } catch {
            throw .file(path, fact: "\(error)")
        }
    }
}
