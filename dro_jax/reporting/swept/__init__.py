"""A sweep as one page: settings compared, chosen on one half of the prompts."""
