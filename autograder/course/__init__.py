"""What authors and instructors make of the course: releases, bundles, a sample class."""
