"""The paper's sections, one after another, beside what it prints itself."""
