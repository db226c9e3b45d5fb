"""What authors and instructors make of the course: releases, bundles, sample class."""
